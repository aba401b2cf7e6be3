"""Verification in the loop: finalists are measured, the cost model learns, the pick is re-made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.predictors.space import Codes, Floats
from lwprof.search.constraints import Costs, Limit, Priced, Regressed
from lwprof.search.pick import pick
from lwprof.search.problem import Problem, Trials
from lwprof.search.result import Point, Verified, points

FINALISTS = 3000
MeasureModel = Callable[[Any], dict[str, Any]]
"""An ONNX model → its measured latency as an estimate's JSON."""


def verify(problem: Problem, trials: Trials, limit: Limit, measure: MeasureModel,
           verifications: int) -> tuple[Point | None, list[Verified]]:  # fmt: skip
    """Measures the most promising finalists and picks the best that meets the limit as measured.

    A measured network meets a limit when its median does, or, where the limit holds with a
    probability, when its interval's upper end does.

    Returns:
        The pick, None if no verified network met the limit, and all that was measured.
    """
    costs = next(c for c in problem.constraints.costs
                 if limit.quantity in c.quantities and limit.device in (None, c.device))  # fmt: skip
    others = _others(problem, limit, trials)
    rows = np.argsort(-np.where(others, trials.merits, -np.inf), kind="stable")[:FINALISTS]
    rows = rows[others[rows] & np.isfinite(trials.merits[rows])]
    if not len(rows):
        return None, []
    said: dict[int, dict[str, Any]] = {}

    def run(index: int) -> float:
        code = trials.codes[rows[index]][None]
        said[index] = measure(problem.space.build(problem.space.decode(code)[0]))
        high = said[index]["high"]
        held = said[index]["value"] if limit.probability is None or high is None else high
        return float(held)

    regressor = _regressor(costs, limit.quantity)
    found = pick(trials.merits[rows], trials.codes[rows], regressor, limit=limit.value,
                 measure=run, verifications=verifications)  # fmt: skip
    picked = [int(rows[i]) for i in said]
    shown = dict(zip(said, points(problem, trials, picked), strict=True))
    verified = [Verified(shown[i], said[i], found.measured[i] <= limit.value) for i in said]
    return (None if found.index is None else shown[found.index]), verified


def _others(problem: Problem, limit: Limit, trials: Trials) -> Any:
    """(n,) whether all limits but one hold."""
    constraints = problem.constraints
    excess = constraints.excess(trials.codes)
    for column, (other, _, _) in enumerate(constraints.terms):
        if other is limit:
            excess[:, column] = 0.0
    return (excess <= 0).all(axis=1)


def _regressor(costs: Costs, quantity: str) -> Any:
    if isinstance(costs, Regressed):
        return costs.regressor
    return _Column(costs, costs.quantities.index(quantity))


class _Column:
    """One quantity of costs with the face of a regressor; at least 2 % of uncertainty."""

    def __init__(self, costs: Costs, quantity: int) -> None:
        self._costs, self._quantity = costs, quantity
        self._least = 0.02 if isinstance(costs, Priced) else 0.0

    def predict(self, codes: Codes) -> Floats:
        found: Floats = self._costs.predict(codes)[:, self._quantity]
        return found

    def predict_interval(self, codes: Codes, level: float = 0.95) -> tuple[Floats, Floats]:
        low, high = (self._costs.quantile(codes, p)[:, self._quantity]
                     for p in ((1 - level) / 2, (1 + level) / 2))  # fmt: skip
        return low * (1 - self._least), high * (1 + self._least)
