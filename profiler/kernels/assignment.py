"""Which original operators each optimised node runs; every operator exactly once."""

from __future__ import annotations

from dataclasses import dataclass

from lwprof.profiler.kernels.correspondence import Correspondence
from lwprof.profiler.kernels.optimised import Node, Optimised
from lwprof.profiler.kernels.original import Original


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where every original operator went; operators by place, kernels by node place.

    Attributes:
        kernel: operator → the optimised node that runs it.
        folded: computed once, when the runtime loaded the model.
        dead: no output depends on them, or the runtime found nothing to do for them.
        merged: computed by an identical operator's kernel.
    """

    kernel: dict[int, int]
    folded: tuple[int, ...]
    dead: tuple[int, ...]
    merged: tuple[int, ...]


def assign(original: Original, optimised: Optimised, found: Correspondence) -> Assignment:
    """Assigns every original operator to a kernel, or to what the runtime did away with.

    Walking the kernels in order of execution, each takes what its output needs and no
    earlier kernel took: that is what it must have computed. Operators that nothing
    downstream needs under their own name (as an Identity that was removed) go to the
    kernel that made their input.
    """
    reserved = {place: node for node, place in found.own.items()}
    folded = _folded(original, optimised, reserved)
    kernel: dict[int, int] = {}
    merged: set[int] = set()
    classes = _Classes(original, reserved, kernel)
    _take_weight_conversions(original, optimised, reserved, folded, kernel)
    for node in optimised.nodes:
        if node.place in found.inserted:
            continue
        for place in _starts(original, found, node):
            _take(place, node.place, original, reserved, folded, classes, kernel, merged)
    dead: list[int] = []
    for place in range(len(original.operators)):
        if place in kernel or place in folded or place in merged:
            continue
        if place not in original.live:
            dead.append(place)
        elif classes.has_other(place):
            merged.add(place)
        else:
            _adopt_orphan(place, original, kernel, dead)
    return Assignment(kernel, tuple(sorted(folded)), tuple(dead), tuple(sorted(merged)))


class _Classes:
    """Operators that compute the same, so that a runtime may keep one of them."""

    def __init__(
        self, original: Original, reserved: dict[int, int], kernel: dict[int, int]
    ) -> None:
        self._root = original.twins
        self._members: dict[int, list[int]] = {}
        for place, twin in self._root.items():
            self._members.setdefault(twin, [twin]).append(place)
        self._reserved, self._kernel = reserved, kernel

    def has_other(self, place: int) -> bool:
        """True if another member of the operator's class runs and this one has no node."""
        if place in self._reserved:
            return False
        members = self._members.get(self._root.get(place, place), ())
        return any(m != place and (m in self._kernel or m in self._reserved) for m in members)


def _starts(original: Original, found: Correspondence, node: Node) -> list[int]:
    starts = [
        original.producer[found.tensor[name]]
        for name in node.outputs
        if found.tensor.get(name) in original.producer
    ]
    if node.place in found.own:
        starts.append(found.own[node.place])
    return starts


def _take(
    start: int,
    node: int,
    original: Original,
    reserved: dict[int, int],
    folded: set[int],
    classes: _Classes,
    kernel: dict[int, int],
    merged: set[int],
) -> None:
    waiting = [start]
    while waiting:
        place = waiting.pop()
        if place in kernel or place in folded or place in merged:
            continue
        if reserved.get(place, node) != node:
            continue
        if place != start and classes.has_other(place):
            merged.add(place)
            continue
        kernel[place] = node
        waiting.extend(
            original.producer[name] for name in original.reads(place) if name in original.producer
        )


def _folded(original: Original, optimised: Optimised, reserved: dict[int, int]) -> set[int]:
    """Operators whose results the runtime stored as constants, and all that only they need."""
    kept = {place for place in original.foldable if place not in reserved}
    stored = [
        original.producer[name]
        for name in optimised.constants
        if name in original.producer and original.producer[name] not in reserved
    ]
    kept.update(stored)
    outputs = {tensor.name for tensor in original.graph.outputs}
    for place in range(len(original.operators) - 1, -1, -1):
        if place in kept or place in reserved or place not in original.live:
            continue
        names = [name for name in original.operators[place].outputs if name]
        if outputs.intersection(names):
            continue
        readers = [reader for name in names for reader in original.consumers.get(name, ())]
        if readers and all(reader in kept for reader in readers):
            kept.add(place)
    return kept


def _take_weight_conversions(
    original: Original,
    optimised: Optimised,
    reserved: dict[int, int],
    folded: set[int],
    kernel: dict[int, int],
) -> None:
    """Dequantised weights that a kernel reads as stored: nothing was folded, it is absorbed."""
    for place in sorted(folded):
        operator = original.operators[place]
        if operator.type != "DequantizeLinear" or not operator.inputs:
            continue
        readers = optimised.consumers.get(operator.inputs[0], [])
        if readers and operator.inputs[0] in optimised.constants:
            folded.discard(place)
            kernel[place] = readers[0][0]


def _adopt_orphan(place: int, original: Original, kernel: dict[int, int], dead: list[int]) -> None:
    makers = [
        kernel[original.producer[name]]
        for name in original.reads(place)
        if original.producer.get(name) in kernel
    ]
    if makers:
        kernel[place] = max(makers)
        return
    readers = [
        kernel[reader]
        for name in original.operators[place].outputs
        for reader in original.consumers.get(name, ())
        if reader in kernel
    ]
    if readers:
        kernel[place] = min(readers)
    else:
        dead.append(place)
