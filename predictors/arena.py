"""What a runtime's arena takes for the activations of a network: live buffers, and gaps.

ONNX Runtime lays the activations of a run out in one block: each is put, in the order in which
operators make them, into the smallest gap between living ones that holds it, else at the end
(``MemPatternPlanner``). A gap too small for what comes next stays empty, so that the block is
larger than what lives at the worst moment: MobileNet v1 takes a third more.

Feeds live in the caller's memory and are neither counted nor overwritten. Elementwise operators
write over an input that nobody reads afterwards, as they do when fused; views cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from lwprof.profiler.graph.memory import _ELEMENTWISE, _VIEWS, activation_sizes
from lwprof.profiler.graph.model import Graph, Operator

ALIGNMENT = 64


def arena_bytes(graph: Graph) -> int | None:
    """Bytes of the block that holds all activations of one inference.

    Returns:
        None where a size is unknown.
    """
    names = [name for operator in graph.operators for name in operator.outputs if name]
    sizes = activation_sizes(graph.tensors, names)
    if any(size is None for size in sizes.values()):
        return None
    known = {name: size for name, size in sizes.items() if size is not None}
    return _Layout(graph, known).peak()


class _Layout:
    """Buffers in the order in which they come and go, each at its place."""

    def __init__(self, graph: Graph, sizes: dict[str, int]) -> None:
        self._sizes, self._operators = sizes, graph.operators
        self._last: dict[str, int] = {}
        for index, operator in enumerate(graph.operators):
            for name in (*operator.outputs, *operator.inputs):
                self._last[name] = index
        self._last.update({tensor.name: len(graph.operators) for tensor in graph.outputs})
        self._buffer: dict[str, int] = {}
        self._readers: dict[int, set[str]] = {}
        self._placed: dict[int, tuple[int, int]] = {}
        self._made = 0

    def peak(self) -> int:
        """The end of the furthest buffer."""
        end = 0
        for index, operator in enumerate(self._operators):
            for place, name in enumerate(operator.outputs):
                if name in self._sizes and not (place == 0 and self._shared(index, operator)):
                    end = max(end, self._place(name))
            self._release(index, (*operator.inputs, *operator.outputs))
        return end

    def _shared(self, index: int, operator: Operator) -> bool:
        """Whether the first output takes an input's memory; noted if so."""
        target = operator.outputs[0]
        candidates: Sequence[str] = ()
        if operator.type in _VIEWS:
            candidates = operator.inputs[:1]
        elif operator.type in _ELEMENTWISE:
            candidates = [name for name in operator.inputs if self._dies(name, index)]
        for name in candidates:
            buffer = self._buffer.get(name)
            if buffer is not None and self._sizes[name] == self._sizes[target]:
                self._buffer[target] = buffer
                self._readers[buffer].add(target)
                return True
        return False

    def _dies(self, name: str, index: int) -> bool:
        buffer = self._buffer.get(name)
        return buffer is not None and all(self._last[n] <= index for n in self._readers[buffer])

    def _place(self, name: str) -> int:
        """Puts a value into the smallest gap that holds it; returns where it ends."""
        size = -(-self._sizes[name] // ALIGNMENT) * ALIGNMENT
        position, best, start = 0, None, 0
        for low, high in sorted(self._placed.values()):
            gap = low - position
            if gap >= size and (best is None or gap < best):
                best, start = gap, position
            position = max(position, high)
        if best is None:
            start = position
        self._made += 1
        self._buffer[name], self._readers[self._made] = self._made, {name}
        self._placed[self._made] = (start, start + size)
        return start + size

    def _release(self, index: int, names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            buffer = self._buffer.get(name)
            if buffer is None or self._last[name] > index:
                continue
            self._readers[buffer].discard(name)
            del self._buffer[name]
            if not self._readers[buffer]:
                del self._placed[buffer]
