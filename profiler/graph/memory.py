"""Peak activation memory by liveness: what must exist at once, not what a runtime allots.

Nodes run in the file's order. An activation exists from the node that makes it (a graph
input: from the start) until its last reader has run (a graph output: to the end).
Constants are weights, not activations. Two figures:

- without in-place operators, every result has memory of its own;
- with them, a view (Reshape, Identity …) shares its input's memory, and an elementwise
  operator overwrites an input of the same size that nobody reads afterwards.

While a body of If, Loop or Scan runs, its own peak comes on top of what is live around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.graph.model import Tensor

_VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"))
_ELEMENTWISE = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Add",
        "And",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BatchNormalization",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pow",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Sum",
        "SwiGLU",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Where",
        "Xor",
    ]
)


@dataclass(frozen=True, slots=True)
class Step:
    """One node for the purpose of memory.

    Attributes:
        type: operator type, "" for one that neither views nor overwrites.
        reads: values read, captured ones included.
        writes: values made.
        extra_bytes: what its bodies need on top while they run; None when unknown.
    """

    type: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    extra_bytes: int | None = 0


def peak_bytes(
    steps: Sequence[Step],
    sizes: Mapping[str, int | None],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    in_place: bool,
) -> int | None:
    """The largest number of activation bytes that exist at once.

    Args:
        steps: nodes in the order they run.
        sizes: bytes of every activation; None where unknown. Names not in it are constants.
        inputs: graph inputs.
        outputs: graph outputs, kept to the end.
        in_place: let views share and elementwise operators overwrite.

    Returns:
        bytes, or None when the size of any activation is unknown.
    """
    if any(sizes[name] is None for name in sizes) or any(s.extra_bytes is None for s in steps):
        return None
    known = {name: size for name, size in sizes.items() if size is not None}
    return _Liveness(steps, known, inputs, outputs, in_place).peak()


class _Liveness:
    """One walk through the graph; buffers are shared by the values that alias each other."""

    def __init__(
        self,
        steps: Sequence[Step],
        sizes: Mapping[str, int],
        inputs: Sequence[str],
        outputs: Sequence[str],
        in_place: bool,
    ) -> None:
        self._steps, self._sizes, self._in_place = steps, sizes, in_place
        self._inputs = [name for name in dict.fromkeys(inputs) if name in sizes]
        end = len(steps)
        self._last = dict.fromkeys(self._inputs, -1)
        for index, step in enumerate(steps):
            for name in (*step.writes, *step.reads):
                self._last[name] = index
        self._last.update(dict.fromkeys(outputs, end))
        self._buffer: dict[str, int] = {}  # value -> buffer
        self._members: dict[int, set[str]] = {}  # buffer -> values alive in it
        self._bytes: dict[int, int] = {}
        self._live = 0

    def peak(self) -> int:
        """Bytes at the worst moment."""
        for name in self._inputs:
            self._make(name)
        peak = self._live
        self._release(-1, self._inputs)
        for index, step in enumerate(self._steps):
            writes = [name for name in dict.fromkeys(step.writes) if name in self._sizes]
            shared = self._share(index, step, writes) if self._in_place else set()
            for name in writes:
                if name not in shared:
                    self._make(name)
            peak = max(peak, self._live + (step.extra_bytes or 0))
            self._release(index, (*step.reads, *writes))
        return peak

    def _make(self, name: str) -> None:
        number = len(self._bytes)
        self._buffer[name], self._members[number] = number, {name}
        self._bytes[number] = self._sizes[name]
        self._live += self._sizes[name]

    def _share(self, index: int, step: Step, writes: Sequence[str]) -> set[str]:
        """Puts the first result into an input's memory where that is allowed."""
        if not writes or writes[0] != step.writes[0]:
            return set()
        target = writes[0]
        if step.type in _VIEWS:
            candidates = [name for name in step.reads[:1] if name in self._buffer]
        elif step.type in _ELEMENTWISE:
            candidates = [name for name in step.reads if self._dies(name, index)]
        else:
            return set()
        for name in candidates:
            buffer = self._buffer[name]
            if self._sizes[name] == self._sizes[target]:
                self._buffer[target] = buffer
                self._members[buffer].add(target)
                return {target}
        return set()

    def _dies(self, name: str, index: int) -> bool:
        """True when nothing reads the memory of ``name`` after step ``index``."""
        buffer = self._buffer.get(name)
        if buffer is None:
            return False
        return all(self._last[member] <= index for member in self._members[buffer])

    def _release(self, index: int, names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            buffer = self._buffer.get(name)
            if buffer is None or self._last[name] > index:
                continue
            self._members[buffer].discard(name)
            del self._buffer[name]
            if not self._members[buffer]:
                self._live -= self._bytes[buffer]


def activation_sizes(tensors: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, int | None]:
    """Bytes of the named values that are activations (neither constants nor absent)."""
    sizes: dict[str, int | None] = {}
    for name in names:
        tensor = tensors.get(name)
        if name and tensor is not None and not tensor.constant:
            known = tensor.kind == "tensor"
            sizes[name] = nbytes(tensor.dtype, tensor.elements) if known else None
    return sizes
