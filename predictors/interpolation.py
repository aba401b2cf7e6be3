"""Costs between two measured kernels that differ in one thing: channels, resolution or batch.

Interpolation is refused where it would cross a step or guess: outside of what was measured,
between kernels more than four times apart in work, between channel counts that fill vectors
differently, across several things at once, and wherever attributes or element types differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from lwprof.errors import UsageError
from lwprof.predictors.kernel_features import facts
from lwprof.predictors.known_graphs import KernelName
from lwprof.predictors.lookup import LookupCostModel
from lwprof.profiler.kernels import Workload
from lwprof.profiler.statistics import Estimate

FARTHEST = 4.0
"""How many times the work of the smaller neighbour the larger may have."""
VECTOR = 16
UNEVEN = 0.05
"""How far rounded extents (strides) may lie off the line between two neighbours."""


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel as interpolation sees it.

    Attributes:
        signature: everything that may not differ.
        extents: all shapes' extents behind each other.
        axes: what each of them is: ``batch``, ``channels`` or ``resolution``.
        work: MACs, or bytes moved where there are none.
    """

    signature: str
    extents: tuple[int, ...]
    axes: tuple[str, ...]
    work: float


class Interpolator:
    """Measured kernels of one context, asked for others between them.

    Args:
        known: workloads and their costs.
    """

    def __init__(self, known: Iterable[tuple[Workload, Estimate]]) -> None:
        self._points: dict[str, list[tuple[Point, Estimate]]] = {}
        for workload, cost in known:
            point = _point(workload.description)
            if point is not None and not cost.at_most:
                self._points.setdefault(point.signature, []).append((point, cost))

    def estimate(self, workload: Workload) -> Estimate | None:
        """The cost between the two nearest neighbours on one line; None where there are none.

        The interval is that of the neighbours, widened by how far the cost could bend between
        them.
        """
        asked = _point(workload.description)
        if asked is None:
            return None
        same = self._points.get(asked.signature, ())
        below = [entry for entry in same if entry[0].work < asked.work]
        above = [entry for entry in same if entry[0].work > asked.work]
        brackets = [
            (high[0].work / low[0].work, low, high)
            for low in below
            for high in above
            if high[0].work <= FARTHEST * low[0].work and _on_a_line(low[0], asked, high[0])
        ]
        if not brackets:
            return None
        _, (first, low), (last, high) = min(brackets, key=lambda bracket: bracket[0])
        part = (asked.work - first.work) / (last.work - first.work)
        bend = part * (1 - part) * abs(high.value - low.value)

        def between(a: float, b: float) -> float:
            return a + part * (b - a)

        return Estimate(
            between(low.value, high.value), max(0.0, between(low.low, high.low) - bend),
            between(low.high, high.high) + bend, source="interpolated",
        )  # fmt: skip


class InterpolatingCostModel(LookupCostModel):
    """Answers from one context's table, and between its kernels where that is safe."""

    def _estimate(self, model: str, missing: Sequence[KernelName]) -> dict[str, Estimate]:
        interpolator = self._interpolator()
        found: dict[str, Estimate] = {}
        for kernel in missing:
            workload = kernel.workload or self._described(kernel.key)
            cost = interpolator.estimate(workload) if workload is not None else None
            if cost is not None:
                found[kernel.key] = cost
        left = [kernel for kernel in missing if kernel.key not in found]
        return found | super()._estimate(model, left) if left else found

    def _described(self, key: str) -> Workload | None:
        subject = self._store.subject(key)
        return None if subject is None else Workload.from_description(subject.description, key)

    def _interpolator(self) -> Interpolator:
        subjects = self._store.subjects(kind="workload", context=self.context.key)
        facts_of = self._store.lookup([subject.key for subject in subjects], self.context.key)
        known = []
        for subject in subjects:
            numbers = facts_of.get(subject.key, {})
            fact = numbers.get("latency_s") or numbers.get("isolated_latency_s")
            if fact is not None and subject.description:
                known.append((Workload.from_description(subject.description), fact.estimate()))
        return Interpolator(known)


def _point(description: Mapping[str, Any]) -> Point | None:
    """None where shapes are unknown."""
    try:
        counts = facts(description)
    except UsageError:
        return None
    extents: list[int] = []
    axes: list[str] = []
    values = [*description["inputs"], *description["outputs"]]
    for value in values:
        shape = value["shape"]
        extents += shape
        held = bool(value.get("constant"))
        axes += [_axis(held, place, len(shape)) for place in range(len(shape))]
    attributes = [dict(a) for a in description["attributes"]]
    for entry in attributes:
        # One group per channel is the same operator at any width.
        if entry.get("group", 1) == counts.cin and counts.cin > 1:
            entry["group"] = "depthwise"
    fixed = {**description, "attributes": attributes}
    fixed["inputs"] = [{**v, "shape": len(v["shape"])} for v in description["inputs"]]
    fixed["outputs"] = [{**v, "shape": len(v["shape"])} for v in description["outputs"]]
    work = counts.macs or counts.bytes_moved
    return Point(json.dumps(fixed, sort_keys=True), tuple(extents), tuple(axes), float(work))


def _axis(constant: bool, place: int, rank: int) -> str:
    if constant:
        # A weight's first two axes are channels; the kernel's extents are its attributes.
        return "channels" if place < 2 else "kernel"
    if rank == 4:
        return ("batch", "channels", "resolution", "resolution")[place]
    return "batch" if place == 0 and rank > 1 else "channels"


def _on_a_line(low: Point, asked: Point, high: Point) -> bool:
    """Whether exactly one thing differs, all its extents go in step, and vectors fill alike."""
    if low.axes != high.axes or low.axes != asked.axes:
        return False
    parts, moved = [], set()
    for a, x, b, axis in zip(low.extents, asked.extents, high.extents, asked.axes, strict=True):
        if a == b:
            if x != a:
                return False
            continue
        moved.add(axis)
        parts.append((x - a) / (b - a))
        if axis == "channels" and len({gcd(v, VECTOR) for v in (a, x, b)}) > 1:
            return False
    return (len(moved) == 1 and moved != {"kernel"} and min(parts) > 0 and max(parts) < 1
            and max(parts) - min(parts) <= UNEVEN)  # fmt: skip
