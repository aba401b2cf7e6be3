"""Selectors: from scores and a price to a mask. ``SELECTORS`` names them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.compression.pruning.agent import amc
from lwprof.compression.pruning.genetic import genetic
from lwprof.compression.pruning.knapsack import knapsack
from lwprof.compression.pruning.netadapt import netadapt
from lwprof.compression.pruning.problem import Problem
from lwprof.errors import UsageError

Selector = Callable[[Problem], Any]


def uniform(problem: Problem) -> Any:
    """The same share of every group, the largest that the limit allows."""
    problem.check()
    sizes, least = problem.found.widths, problem.least

    def widths(share: float) -> Any:
        steps = max(1, problem.step)
        cut = np.floor(sizes * share / steps).astype(int) * steps
        return np.where(share >= 1, sizes, np.clip(cut, least, sizes))

    return problem.best(_largest(problem, widths))


def global_threshold(problem: Problem) -> Any:
    """One threshold for all groups, on scores scaled by each group's root mean square."""
    problem.check()
    scores = problem.scores.astype(float).copy()
    for group in problem.found.groups:
        units = list(group.units)
        scores[units] /= max(float(np.sqrt(np.square(scores[units]).mean())), 1e-30)
    order = np.sort(scores)

    def widths(share: float) -> Any:
        if share >= 1:
            return problem.found.widths
        bar = order[min(len(order) - 1, int((1 - share) * len(order)))]
        return np.maximum(problem.found.counts(scores >= bar), problem.least)

    return problem.best(_largest(problem, widths))


def per_cost(problem: Problem) -> Any:
    """Again and again removes the units that lose the least saliency per cost saved."""
    problem.check()
    widths = problem.found.widths.copy()
    ranked = [np.sort(problem.scores[list(g.units)]) for g in problem.found.groups]
    while (now := problem.cost(widths)) > problem.limit:
        best, choice = -np.inf, None
        for group, values in enumerate(ranked):
            steps = [w for w in problem.steps(group) if w < widths[group]]
            if not steps:
                continue
            fewer = widths.copy()
            fewer[group] = steps[-1]
            gone = len(values) - widths[group]
            lost = float(values[gone : len(values) - steps[-1]].sum())
            worth = (now - problem.cost(fewer)) / max(lost, 1e-30)
            if worth > best:
                best, choice = worth, fewer
        if choice is None:
            break
        widths = choice
    return problem.filled(problem.best(widths))


SELECTORS: dict[str, Selector] = {
    "uniform": uniform, "global": global_threshold, "per-cost": per_cost, "netadapt": netadapt,
    "amc": amc, "knapsack": knapsack, "genetic": genetic,
}  # fmt: skip


def selector(name: str) -> Selector:
    """The selector of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in SELECTORS:
        raise UsageError(f"no selector is called {name!r}: choose {', '.join(SELECTORS)}")
    return SELECTORS[name]


def _largest(problem: Problem, widths: Callable[[float], Any]) -> Any:
    """The widths of the largest share whose price is within the limit (bisection)."""
    if problem.cost(widths(1.0)) <= problem.limit:
        return widths(1.0)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        if problem.cost(widths(middle)) <= problem.limit:
            low = middle
        else:
            high = middle
    found = widths(low)
    return found if problem.cost(found) <= problem.limit else problem.least
