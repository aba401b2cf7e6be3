"""Successive halving (arXiv 1502.07943): many candidates at low fidelity, the better third goes on.

A merit that takes ``fidelity`` in (0, 1] is asked for cheap answers; an evaluation at fidelity f
costs f of a whole one, so a budget of n buys n whole evaluations or 27 n of a twenty-seventh.
Without such a merit it is random search.
"""

from __future__ import annotations

import inspect

import numpy as np

from lwprof.search.problem import Budget

KEPT, RUNGS = 3, 4
LOWEST = 1 / KEPT ** (RUNGS - 1)


def takes_fidelity(merit: object) -> bool:
    """Whether a merit has an argument of that name."""
    try:
        return "fidelity" in inspect.signature(merit).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def halving(budget: Budget, rng: np.random.Generator) -> None:
    """Rungs at 1/27, 1/9, 1/3 and 1; each costs the same share of the budget."""
    merit, space = budget.problem.merit, budget.problem.space
    if not takes_fidelity(merit):
        from lwprof.search.strategies.sampling import random

        random(budget, rng)
    share = max(1.0, budget.left / RUNGS)
    codes = space.sample(int(share / LOWEST), rng)
    codes = codes[budget.problem.constraints.violation(codes) <= 0]  # known without training
    for rung in range(RUNGS - 1):
        fidelity = LOWEST * KEPT**rung
        codes = codes[: int(share / fidelity)]
        if not len(codes):
            break
        worth = np.asarray(merit(codes, fidelity=fidelity), dtype=np.float64)  # type: ignore[call-arg]
        order = np.argsort(-np.where(np.isfinite(worth), worth, -np.inf), kind="stable")
        codes = codes[order[: max(1, len(codes) // KEPT)]]
    if len(codes):
        budget.evaluate(codes[: max(1, min(budget.left, int(share)))])
