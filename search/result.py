"""What a search found, and its JSON: ``lwprof.search/1``.

Fields beyond the design's: ``limits`` as they were held, ``feasible`` for each point of the front,
``reachable`` where nothing met the limits, ``predicted`` beside ``measured`` in ``verified``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.predictors.space import Codes, Floats
from lwprof.search.constraints import Constraints, Limit, Reach
from lwprof.search.problem import Problem, Trials

SCHEMA = "lwprof.search/1"
LEVEL = 0.95
MOST_ON_FRONT = 200


@dataclass(frozen=True, slots=True)
class Point:
    """An architecture with its merit and predicted costs.

    Attributes:
        architecture: as the space spells it.
        code: its choices.
        merit: as the search was told to maximise.
        costs: estimates by quantity (``latency_s``, or ``latency_s@pi4`` with several devices).
        feasible: whether every limit holds by prediction.
    """

    architecture: str
    code: tuple[int, ...]
    merit: float
    costs: dict[str, dict[str, Any]]
    feasible: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A finalist measured on the device; ``measured`` is an estimate in its JSON form."""

    point: Point
    measured: dict[str, Any]
    meets: bool


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        best: feasible and of highest merit, verified where that was asked for; or None.
        front: not dominated in merit and first cost, cheapest first.
        reachable: the least cost of each limit, where nothing was feasible.
        environment: of the numbers; the least real of all of them.
        merit_is_accuracy: whether merits are accuracies and not a stand-in such as MACs.
    """

    space: str
    devices: tuple[str, ...]
    strategy: str
    constraints: tuple[Limit, ...]
    best: Point | None
    front: tuple[Point, ...]
    evaluations: int
    verified: tuple[Verified, ...] = ()
    reachable: tuple[Reach, ...] = ()
    merit_is_accuracy: bool = True
    blocks: tuple[str, ...] = ()
    environment: str = "hardware"

    def to_json(self) -> dict[str, Any]:
        """``lwprof.search/1``."""
        return {
            "schema": SCHEMA,
            "space": self.space,
            "devices": list(self.devices),
            "environment": self.environment,
            "strategy": self.strategy,
            "blocks": list(self.blocks),
            "constraints": [_limit(limit) for limit in self.constraints],
            "best": None if self.best is None else self._point(self.best),
            "front": [self._point(point) for point in self.front],
            "evaluations": self.evaluations,
            "verified": [self._verified(one) for one in self.verified],
            "reachable": [
                {**_limit(r.limit), "least": r.value, "code": list(r.code), "exact": r.exact}
                for r in self.reachable
            ],
        }

    def _verified(self, one: Verified) -> dict[str, Any]:
        predicted = one.point.costs.get("latency_s") or next(iter(one.point.costs.values()))
        return {**self._point(one.point), "predicted_latency_s": predicted,
                "latency_s": one.measured, "meets": one.meets}  # fmt: skip

    def _point(self, point: Point) -> dict[str, Any]:
        accuracy = point.merit if self.merit_is_accuracy else None
        return {
            "architecture": point.architecture, "code": list(point.code), "accuracy": accuracy,
            "merit": point.merit, "costs": point.costs, "feasible": point.feasible,
        }  # fmt: skip


def _limit(limit: Limit) -> dict[str, Any]:
    return {"quantity": limit.quantity, "limit": limit.value, "probability": limit.probability,
            "device": limit.device}  # fmt: skip


def front_of(trials: Trials, cost: Floats) -> list[int]:
    """Rows not dominated in merit (higher) and cost (lower), cheapest first.

    Args:
        cost: (n,) of each trial.
    """
    found, best = [], -np.inf
    for row in np.lexsort((-trials.merits, cost)):
        if trials.merits[row] > best:
            best = trials.merits[row]
            found.append(int(row))
    return found


def points(problem: Problem, trials: Trials, rows: Sequence[int]) -> list[Point]:
    """Those rows with their costs, intervals at 95 %."""
    if not len(rows):
        return []
    codes = trials.codes[list(rows)]
    texts, costs = problem.space.decode(codes), _estimates(problem.constraints, codes)
    return [
        Point(text, tuple(int(c) for c in trials.codes[row]), float(trials.merits[row]), cost,
              bool(trials.violations[row] <= 0))
        for text, row, cost in zip(texts, rows, costs, strict=True)
    ]  # fmt: skip


def _estimates(constraints: Constraints, codes: Codes) -> list[dict[str, dict[str, Any]]]:
    mean = constraints.cost(codes)
    tail = (1 + LEVEL) / 2
    low, high = (np.concatenate([c.quantile(codes, p) for c in constraints.costs], axis=1)
                 for p in (1 - tail, tail))  # fmt: skip
    sources = [_source(c, q) for c in constraints.costs for q in c.quantities]
    return [
        {name: {"value": float(m), "low": float(a), "high": float(b), "level": LEVEL, "source": s}
         for name, m, a, b, s in zip(constraints.names, *rows, sources, strict=True)}
        for rows in zip(mean, low, high, strict=True)
    ]  # fmt: skip


def _source(costs: Any, quantity: str) -> str:
    if quantity in ("peak_memory_bytes", "size_bytes"):
        return "computed"
    table = getattr(costs, "table", None)
    source = "predicted" if table is None else str(table.source)
    return "predicted" if source == "additive" else source


def thinned(rows: Sequence[int]) -> list[int]:
    """At most 200 of the front, both ends kept."""
    if len(rows) <= MOST_ON_FRONT:
        return list(rows)
    places = np.linspace(0, len(rows) - 1, MOST_ON_FRONT).round().astype(int)
    return [rows[i] for i in np.unique(places)]
