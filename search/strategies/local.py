"""Local search, and the survey's hybrid: a global stage, then refinement of what it found."""

from __future__ import annotations

import numpy as np

from lwprof.predictors.space import Codes
from lwprof.search.problem import Budget, Spent, scores
from lwprof.search.strategies.evolution import evolution

GLOBAL_SHARE = 0.6


def local(budget: Budget, rng: np.random.Generator) -> None:
    """Hill climbing by single blocks from random starts, and again from the next when stuck."""
    while True:
        climb(budget, budget.problem.space.sample(1, rng)[0], rng)


def hybrid(budget: Budget, rng: np.random.Generator) -> None:
    """Regularised evolution for 60 % of the budget, then climbs from its best."""
    first = max(1, int(GLOBAL_SHARE * budget.evaluations))
    whole = budget.evaluations
    budget.evaluations = first
    try:
        evolution(budget, rng)
    except Spent:
        pass
    finally:
        budget.evaluations = whole
    trials = budget.trials()
    for start in np.argsort(-trials.scores):
        climb(budget, trials.codes[start], rng)


def climb(budget: Budget, start: Codes, rng: np.random.Generator) -> None:
    """Moves to the first better neighbour, in random order, until none is better."""
    code, score = start, scores(*budget.evaluate(start[None]))[0]
    improved = True
    while improved:
        improved = False
        near = budget.problem.space.neighbours(code)
        for row in rng.permutation(len(near)):
            found = scores(*budget.evaluate(near[row][None]))[0]
            if found > score:
                code, score, improved = near[row], found, True
                break
