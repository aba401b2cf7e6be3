"""Random search: the yardstick from below."""

from __future__ import annotations

import numpy as np

from lwprof.search.problem import Budget

BATCH = 1024


def random(budget: Budget, rng: np.random.Generator) -> None:
    """Uniform, independent codes until the budget is spent."""
    while True:
        budget.evaluate(budget.problem.space.sample(min(BATCH, max(budget.left, 1)), rng))
