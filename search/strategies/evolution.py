"""Regularised evolution (arXiv 1802.01548): the oldest die, whatever their merit.

Tournaments, mutations and evaluations are made for a batch of children at a time; a population
of p with batches of p / 8 behaves as the original with children evaluated in parallel.
"""

from __future__ import annotations

import numpy as np

from lwprof.predictors.space import Codes, Floats
from lwprof.search.problem import Budget, Trials, scores

TOURNAMENT = 0.5
MUTATION = 0.1
RETRIES = 6


def evolution(budget: Budget, rng: np.random.Generator) -> None:
    """Ageing population; tournaments decide by feasibility first, then by merit."""
    size = int(np.clip(budget.evaluations // 20, 8, 1024))
    batch = max(1, size // 8)
    codes, score = opening(budget, size, rng)
    rounds = int(np.ceil(size / batch))
    while True:
        for place in range(rounds):
            entrants = rng.integers(0, size, size=(batch, max(2, min(25, int(TOURNAMENT * size)))))
            winners = entrants[np.arange(batch), np.argmax(score[entrants], axis=1)]
            children = _children(budget, codes[winners], rng)
            merits, violations = budget.evaluate(children)
            oldest = np.arange(place * batch, place * batch + batch) % size
            codes[oldest], score[oldest] = children, scores(merits, violations)


def _children(budget: Budget, parents: Codes, rng: np.random.Generator) -> Codes:
    """Mutations, those that are known already mutated further: repeats would teach nothing."""
    children = budget.problem.space.mutate(parents, rng, MUTATION)
    for attempt in range(2, RETRIES):
        known = ~budget.is_new(children)
        if not known.any():
            break
        probability = min(1.0, MUTATION * attempt)
        children[known] = budget.problem.space.mutate(parents[known], rng, probability)
    return children


def opening(budget: Budget, size: int, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """A first population: trials of a search that is resumed, then random codes.

    Returns:
        (size, blocks) codes and (size,) scores.
    """
    earlier: Trials = budget.trials()
    best = np.argsort(-earlier.scores)[: size // 2]
    fresh = budget.problem.space.sample(size - len(best), rng)
    codes = np.concatenate([earlier.codes[best], fresh])
    return codes, scores(*budget.evaluate(codes))
