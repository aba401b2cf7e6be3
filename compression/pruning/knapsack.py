"""Latency–saliency knapsack over channel groups (HALP, Shen et al. 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.pruning.problem import Problem

# Cells of the budget in the exact programme: a rounding of 0.1 % of the limit.
_CELLS = 1000
_ROUNDS = 8


def knapsack(problem: Problem) -> Any:
    """Keeps the largest total saliency whose price is within the limit.

    The price of each group's widths is taken with the others at their present choice; the
    multiple-choice knapsack over those is solved exactly on a grid of the budget, and repeated
    at the widths found until the true price fits (groups share layers, so that prices do not
    simply add up).
    """
    problem.check()
    widths = problem.found.widths.copy()
    budget, best = problem.limit, problem.least
    for _ in range(_ROUNDS):
        widths = _solve(problem, widths, budget)
        cost = problem.cost(widths)
        if cost <= problem.limit:
            if _gain(problem, widths) > _gain(problem, best):
                best = widths
            if cost > 0.98 * problem.limit:
                break
        budget *= problem.limit / cost
    return problem.filled(problem.best(best))


def solve(values: list[list[float]], costs: list[list[float]], budget: float) -> list[int]:
    """Multiple-choice knapsack: one choice per group, the largest value within the budget.

    Costs are rounded up to a thousandth of the budget, so that the answer never exceeds it; the
    cheapest choices stand where nothing fits.
    """
    cell = budget / _CELLS if budget > 0 else 1.0
    reach = np.full(_CELLS + 1, -np.inf)
    reach[0] = 0.0
    picks = []
    for value, cost in zip(values, costs, strict=True):
        made = np.full(_CELLS + 1, -np.inf)
        pick = np.zeros(_CELLS + 1, dtype=int)
        for index, (v, c) in enumerate(zip(value, cost, strict=True)):
            cells = max(0, int(np.ceil(c / cell - 1e-9)))
            if cells > _CELLS:
                continue
            moved = np.full(_CELLS + 1, -np.inf)
            moved[cells:] = reach[: _CELLS + 1 - cells] + v
            better = moved > made
            made[better], pick[better] = moved[better], index
        picks.append((pick, cost))
        reach = made
    if not np.isfinite(reach).any():
        return [int(np.argmin(cost)) for cost in costs]
    place, found = int(np.argmax(reach)), []
    for pick, cost in reversed(picks):
        index = int(pick[place])
        found.append(index)
        place -= max(0, int(np.ceil(cost[index] / cell - 1e-9)))
    return found[::-1]


def _solve(problem: Problem, widths: Any, budget: float) -> Any:
    base = problem.cost(widths)
    values, costs, options = [], [], []
    spare = 0.0
    for group in range(len(widths)):
        steps = problem.steps(group)
        prices = []
        for width in steps:
            other = widths.copy()
            other[group] = width
            prices.append(problem.cost(other))
        low = min(prices)
        spare += base - low
        ranked = np.sort(problem.scores[list(problem.found.groups[group].units)])[::-1]
        values.append([float(ranked[:width].sum()) for width in steps])
        costs.append([price - low for price in prices])
        options.append(steps)
    chosen = solve(values, costs, max(budget - (base - spare), 1e-30))
    return np.array([steps[i] for steps, i in zip(options, chosen, strict=True)])


def _gain(problem: Problem, widths: Any) -> float:
    return float(problem.scores[problem.best(widths)].sum())
