"""NetAdapt (Yang et al. 2018): a schedule of small reductions, each given to the best group."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.pruning.problem import Problem

# Constants of the authors' code: the first reduction, its decay, and the guards of the ratio.
FIRST, DECAY = 0.025, 0.96
LOSS_GUARD, COST_GUARD = 1e-6, 1e-5
_MOST_STEPS = 1000


def netadapt(problem: Problem) -> Any:
    """Shrinks one group at a time along the schedule until the limit is met.

    In iteration i the price must fall by ``FIRST · DECAY^(i−1)`` of the original's. Every group
    on its own is made as narrow as that needs, keeping its best units; of these proposals the
    one with the smallest (Δerror + 1e-6) / (Δprice, relative + 1e-5) is committed.
    """
    problem.check()
    widths = problem.found.widths.copy()
    first = problem.cost(widths)
    loss = problem.loss(problem.best(widths))
    for number in range(_MOST_STEPS):
        now = problem.cost(widths)
        if now <= problem.limit:
            break
        target = max(problem.limit, now - FIRST * DECAY**number * first)
        best = None
        for group in range(len(widths)):
            proposal = _narrowed(problem, widths, group, target)
            if proposal is None:
                continue
            saved = (now - problem.cost(proposal)) / first
            worse = problem.loss(problem.best(proposal)) - loss
            mark = (worse + LOSS_GUARD) / (saved + COST_GUARD)
            if saved > 0 and (best is None or mark < best[0]):
                best = (mark, proposal, loss + worse)
        if best is None:
            return problem.best(_all_narrower(problem, widths))
        widths, loss = best[1], best[2]
    return problem.filled(problem.best(widths))


def _narrowed(problem: Problem, widths: Any, group: int, target: float) -> Any | None:
    """The widest cut of one group that reaches the target; its narrowest where none does."""
    found = None
    for width in reversed([w for w in problem.steps(group) if w < widths[group]]):
        found = widths.copy()
        found[group] = width
        if problem.cost(found) <= target:
            break
    return found


def _all_narrower(problem: Problem, widths: Any) -> Any:
    """No single group helps any more (a cost in steps): all are cut together until it fits."""
    share = np.minimum(widths / problem.found.widths, 1.0)
    for cut in np.linspace(0.95, 0.0, 20):
        fewer = np.maximum((problem.found.widths * share * cut).astype(int), problem.least)
        if problem.cost(fewer) <= problem.limit:
            return fewer
    return problem.least
