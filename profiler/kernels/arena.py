"""What ONNX Runtime's arena takes for one inference: its allocation plan, replayed.

The runtime plans memory twice. Its allocation planner walks the nodes in order and gives every
output a buffer: that of an input which dies there and which the kernel may overwrite, else one of
the same shape that has died before, else a new one. A buffer lives from its first value to the
death of its last, also in between. The memory pattern then lays the buffers out in one block: each,
as it comes to life, into the gap that it fills best, else at the end; a gap too small for what comes
next stays empty. Values that the caller gets are allocated by themselves.

Sources: ``allocation_planner.cc`` and ``mem_pattern_planner.h`` of ONNX Runtime 1.32, and its
registrations of CPU kernels for what may be overwritten; validated to the byte against the arena's
own log (``benchmarks/peak_memory.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.kernels.optimised import NCHWC_DOMAIN
from lwprof.profiler.kernels.values import join_type

if TYPE_CHECKING:
    from lwprof.profiler.kernels.onnxruntime import Kernel

ALIGNMENT = 64
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_OVERWRITES = {
    **dict.fromkeys(("Relu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "LeakyRelu", "Elu", "Exp",
                     "Sqrt", "Abs", "Neg", "Softmax"), 0),
    f"{NCHWC_DOMAIN}.Conv": 3, "com.microsoft.FusedConv": 3,
}  # fmt: skip
"""By type, the input whose buffer the kernel may write its output to."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """One node: its type, and the values that it reads and makes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(slots=True)
class _Buffer:
    """A piece of memory: bytes, and the steps of its first and its last value."""

    size: int
    born: int
    dies: int
    left: int = 0


def arena_bytes(kernels: Sequence[Kernel], optimised: Any) -> int | None:
    """Bytes of the block that holds the activations of one inference, and of the outputs.

    Args:
        kernels: of the graph, in order.
        optimised: the runtime's graph (``ModelProto``), whose nodes they are.

    Returns:
        None where a size is unknown, or a node contains a graph of its own.
    """
    graph = optimised.graph
    if len(kernels) != len(graph.node) or any(
        a.HasField("g") for n in graph.node for a in n.attribute
    ):
        return None
    steps = [
        _Step(join_type(n.domain, n.op_type), tuple(n.input), tuple(n.output)) for n in graph.node
    ]
    shapes, sizes = _values(steps, kernels, _block(graph))
    if any(size is None for size in sizes.values()):
        return None
    known = {name: size for name, size in sizes.items() if size is not None}
    given = {value.name for value in graph.output}
    planned = _Planner(steps, shapes, known, given).buffers()
    return _pattern(planned) + sum(_aligned(known[name]) for name in given if name in known)


def _block(graph: Any) -> int:
    """Channels of a block, told by how far convolutions fill theirs up."""
    stored = {tensor.name: tensor.dims for tensor in graph.initializer}
    block = 16
    for node in graph.node:
        if node.domain == NCHWC_DOMAIN and node.op_type == "Conv" and node.input[1] in stored:
            filled = int(stored[node.input[1]][0])
            if filled % 16 and filled % 8 == 0:
                block = 8
    return block


def _values(
    steps: Sequence[_Step], kernels: Sequence[Kernel], block: int
) -> tuple[dict[str, Shape], dict[str, int | None]]:
    """Shapes and bytes of all values that kernels make; blocked ones have full blocks."""
    shapes: dict[str, Shape] = {}
    sizes: dict[str, int | None] = {}
    for step, kernel in zip(steps, kernels, strict=True):
        described = kernel.workload.description
        blocked = step.op.startswith(f"{NCHWC_DOMAIN}.") and not step.op.endswith("ReorderOutput")
        made = [name for name in step.outputs if name]
        for name, value in zip(made, described["outputs"], strict=False):
            shape, kind = value["shape"], value.get("dtype") or described["dtype"] or "float32"
            if shape is None or any(extent is None for extent in shape):
                sizes[name] = None
                continue
            full = list(shape)
            if blocked and len(full) == 4:
                full[1] = -(-full[1] // block) * block
            shapes[name], sizes[name] = tuple(full), nbytes(kind, prod(full))
    return shapes, sizes


@dataclass(slots=True)
class _Planner:
    """Gives every value a buffer, as the runtime's allocation planner does."""

    steps: Sequence[_Step]
    shapes: Mapping[str, Shape]
    sizes: Mapping[str, int]
    given: set[str]
    _of: dict[str, str] = field(default_factory=dict)
    _buffers: dict[str, _Buffer] = field(default_factory=dict)
    _free: list[str] = field(default_factory=list)

    def buffers(self) -> list[_Buffer]:
        """Every buffer but the caller's, in the order in which they come to life."""
        uses: Counter[str] = Counter(self.given)
        for step in self.steps:
            uses.update((*step.inputs, *step.outputs))
        for place, step in enumerate(self.steps):
            for index, name in enumerate(step.outputs):
                if name in self.sizes:
                    self._assign(place, step, index, name)
                    self._buffers[self._of[name]].left += uses[name]
            self._release(place, step)
        return [buffer for name, buffer in self._buffers.items() if name not in self.given]

    def _assign(self, place: int, step: _Step, index: int, name: str) -> None:
        owner = self._shared(step, index, name)
        if owner is None:
            owner = name
            self._buffers[name] = _Buffer(self.sizes[name], place, place)
        self._of[name] = owner

    def _shared(self, step: _Step, index: int, name: str) -> str | None:
        """The buffer of another value that this one takes; None for one of its own."""
        if name in self.given:
            return None
        if step.op in _VIEWS and index == 0:
            return self._of.get(step.inputs[0])
        over = _OVERWRITES.get(step.op)
        if over is not None and index == 0 and over < len(step.inputs):
            source = step.inputs[over]
            owner = self._of.get(source)
            if owner is not None and self._buffers[owner].left == 1 and self._alike(source, name):
                return owner
        for owner in self._free:
            if self._alike(owner, name):
                self._free.remove(owner)
                return owner
        return None

    def _alike(self, a: str, b: str) -> bool:
        return self.shapes[a] == self.shapes[b] and self.sizes[a] == self.sizes[b]

    def _release(self, place: int, step: _Step) -> None:
        for name in (*step.outputs, *step.inputs):
            owner = self._of.get(name)
            if owner is None:
                continue
            buffer = self._buffers[owner]
            buffer.left, buffer.dies = buffer.left - 1, place
            if not buffer.left:
                self._free.insert(0, owner)  # what died last is reused first


def _pattern(buffers: Sequence[_Buffer]) -> int:
    """The end of the furthest buffer of the runtime's memory pattern."""
    placed: list[tuple[int, int, _Buffer]] = []
    end = 0
    for buffer in sorted(buffers, key=lambda b: b.born):
        placed = sorted((p for p in placed if p[2].dies >= buffer.born), key=lambda p: p[:2])
        size, position = _aligned(buffer.size), 0
        best: tuple[int, int] | None = None
        # The room behind the last one, up to the end so far, is a gap like any other.
        for low, high in [*((p[0], p[1]) for p in placed), (end, end)]:
            gap = low - position
            if gap >= size and (best is None or gap < best[0]):
                best = (gap, position)
            position = max(position, high)
        start = best[1] if best else max((p[1] for p in placed), default=0)
        placed.append((start, start + size, buffer))
        end = max(end, start + size)
    return end


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
