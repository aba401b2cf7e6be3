"""NSGA-II by pymoo: merit against costs, limits as constraints, the space's own variation."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.errors import MissingExtra
from lwprof.search.problem import Budget, Spent


def nsga2(budget: Budget, rng: np.random.Generator) -> None:
    """A front of merit and all costs of all devices, until the budget is spent."""
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.optimize import minimize
    except ImportError:
        raise MissingExtra("NSGA-II needs pymoo: pip install 'lwprof[search]'") from None
    from lwprof.search.adapters.pymoo import Crossing, Mutation, Sampling, problem_of

    size = int(np.clip(budget.evaluations // 10, 10, 200))
    space = budget.problem.space
    algorithm = NSGA2(pop_size=size, sampling=Sampling(space, rng), crossover=Crossing(space, rng),
                      mutation=Mutation(space, rng), eliminate_duplicates=True)  # fmt: skip
    asked: Any = problem_of(budget.problem, evaluate=budget.evaluate)
    seed = int(rng.integers(2**31))
    # The budget ends the search; generations that bring nothing new end it, too.
    minimize(asked, algorithm, ("n_gen", 20 * budget.evaluations // size + 10), seed=seed)
    if budget.left > 0:
        raise Spent
