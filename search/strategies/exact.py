"""Exact search: the yardstick from above.

Where merit and costs are sums over blocks it is an integer programme: one binary variable for
each choice, one choice for each block, one row for each limit (SciPy's HiGHS). Small spaces are
enumerated instead, whatever their merit and costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats
from lwprof.search.constraints import Constraints, Priced
from lwprof.search.problem import Budget

CHUNK = 65536
MOST_ENUMERATED = 1_000_000


def exact(budget: Budget, rng: np.random.Generator) -> None:
    """The best feasible architecture; the budget need only hold one for sums.

    Raises:
        UsageError: merit or costs are no sums over blocks, and the space is too large to list.
    """
    problem = budget.problem
    if problem.additive_merit is not None and _sums(problem.constraints):
        code = optimum(problem.additive_merit, problem.space.choices, problem.constraints)
        if code is not None:
            budget.evaluate(code[None])
        return
    if problem.space.count() > MOST_ENUMERATED:
        raise UsageError(f"{problem.space.name} is too large to enumerate: exact search needs a "
                         "merit that adds up over blocks and costs from block tables")  # fmt: skip
    budget.evaluations = max(budget.evaluations, problem.space.count())
    codes = np.indices(problem.space.choices).reshape(len(problem.space.choices), -1).T
    for start in range(0, len(codes), CHUNK):
        budget.evaluate(codes[start : start + CHUNK].astype(np.int64))


def _sums(constraints: Constraints) -> bool:
    return all(isinstance(costs, Priced) for costs in constraints.costs)


def optimum(merit: Floats, choices: tuple[int, ...], constraints: Constraints) -> Codes | None:
    """The code of highest additive merit that meets every limit, or None where none does.

    Args:
        merit: (blocks, most choices); entries beyond a block's choices are ignored.
    """
    rows = [(costs, -np.inf, room) for costs, room in _limits(constraints)]
    return best_of_sums(merit, choices, rows)


def best_of_sums(
    merit: Floats, choices: tuple[int, ...], limits: Sequence[tuple[Floats, float, float]]
) -> Codes | None:
    """The code of highest summed merit whose summed costs lie within limits, or None.

    Args:
        merit: (blocks, most choices); entries beyond a block's choices are ignored.
        limits: costs (blocks, most choices), the least they may sum to and the most.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    exists = np.arange(max(choices)) < np.asarray(choices)[:, None]
    block = np.nonzero(exists)[0]
    one_each = (block == np.arange(len(choices))[:, None]).astype(float)
    rows: list[Any] = [LinearConstraint(one_each, 1, 1)]
    for costs, least, most in limits:
        scale = max(float(np.abs(costs[exists]).max()), 1e-30)
        rows.append(LinearConstraint(costs[exists][None] / scale, least / scale, most / scale))
    worth = np.asarray(merit, dtype=np.float64)[exists]
    size = max(float(np.abs(worth).max()), 1e-30)
    found = milp(-worth / size, constraints=rows, integrality=np.ones(len(worth)),
                 bounds=Bounds(0, 1), options={"mip_rel_gap": 0.0})  # fmt: skip
    if found.x is None:
        return None
    wide = np.zeros(exists.shape)
    wide[exists] = found.x
    code: Codes = np.argmax(wide, axis=1).astype(np.int64)
    return code


def _limits(constraints: Constraints) -> list[tuple[Floats, float]]:
    """For each limit and device: (blocks, choices) costs, and what they may sum to."""
    found = []
    for limit, costs, quantity in constraints.terms:
        assert isinstance(costs, Priced)
        spread = np.broadcast_to(np.asarray(costs.spread, dtype=float), len(costs.quantities))
        factor = 1.0
        if limit.probability is not None:
            from statistics import NormalDist

            factor = float(np.exp(NormalDist().inv_cdf(limit.probability) * spread[quantity]))
        room = limit.value / factor - float(costs.table.base[quantity])
        found.append((np.nan_to_num(costs.table.costs[:, :, quantity]), room))
    return found
