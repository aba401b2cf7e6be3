"""The cheapest chain of transforms that brings a model under a latency limit, step by step.

Each step tries every transform not used yet on the model as it is, and takes the one that
gains most per output error it adds; it stops when the limit is met or nothing gains. Greedy,
so not the best of all chains, but each step is one that pays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.compression.audit.candidates import apply_one
from lwprof.compression.running import Feed, outputs
from lwprof.compression.transform import Given, Transform
from lwprof.profiler.graph import Graph

# A transform without error would otherwise win by any gain, however small.
_FREE = 1e-3
_LEAST_GAIN = 0.01


@dataclass(frozen=True, slots=True)
class Steps:
    """A chain and where it leads.

    Attributes:
        latency_s: expected after the last step; None where nothing could be said.
    """

    ids: tuple[str, ...]
    graph: Graph
    latency_s: float | None
    output_error: float


@dataclass(frozen=True, slots=True)
class Expecting:
    """Expected seconds of a model.

    Attributes:
        price: by the cost model; None where it does not know.
        ratios: measured ratios by transform: what is assumed where it does not know.
        start_s: of the original.
    """

    price: Callable[[Graph], float | None]
    ratios: Mapping[str, float]
    start_s: float | None

    def after(self, before_s: float | None, transform: str, graph: Graph) -> float | None:
        """Seconds after one more step."""
        priced = self.price(graph)
        if priced is not None:
            return priced
        ratio = self.ratios.get(transform)
        return None if before_s is None or ratio is None else before_s * ratio


def search(
    graph: Graph,
    transforms: Sequence[Transform],
    given: Given,
    feeds: Sequence[Feed],
    limit_s: float,
    expecting: Expecting,
) -> Steps:
    """The greedy chain; empty where the original meets the limit or nothing gains.

    Args:
        transforms: those that may be used; substitutions only where the caller wants them.
    """
    reference = outputs(graph.proto, feeds)
    current = Steps((), graph, expecting.start_s, 0.0)
    left = list(transforms)
    while left and (current.latency_s is None or current.latency_s > limit_s):
        best = _best(current, left, given, feeds, reference, expecting)
        if best is None:
            break
        left = [t for t in left if t.id != best.ids[-1]]
        current = best
    return current


def _best(
    current: Steps, transforms: Sequence[Transform], given: Given, feeds: Sequence[Feed],
    reference: Any, expecting: Expecting,
) -> Steps | None:  # fmt: skip
    best, merit = None, 0.0
    for transform in transforms:
        found = apply_one(current.graph, transform, given, feeds, reference)
        if found.graph is None or found.output_error is None:
            continue
        seconds = expecting.after(current.latency_s, transform.id, found.graph)
        if seconds is None or current.latency_s is None:
            continue
        gain = math.log(current.latency_s / seconds)
        if gain < _LEAST_GAIN:
            continue
        added = max(0.0, found.output_error - current.output_error)
        if gain / (added + _FREE) > merit:
            merit = gain / (added + _FREE)
            ids = (*current.ids, transform.id)
            best = Steps(ids, found.graph, seconds, found.output_error)
    return best
