"""Predictor-guided search: a Gaussian process over codes says which architectures to try next.

The kernel is exp(−Hamming distance ÷ ℓ), ℓ chosen by marginal likelihood; candidates are random
codes, mutations and crossings of the best; the most promising feasible ones are evaluated in
batches, and the process is fitted again.
"""

from __future__ import annotations

import numpy as np

from lwprof.predictors.space import Codes, Floats, one_hot
from lwprof.search.problem import Budget, Trials

MOST_FITTED, CANDIDATES = 400, 1500
SCALES = (0.15, 0.3, 0.6, 1.2)
NOISE = 0.05


def surrogate(budget: Budget, rng: np.random.Generator) -> None:
    """A quarter of the budget at random, then by upper confidence bounds."""
    space = budget.problem.space
    first = int(np.clip(budget.evaluations // 5, 8, 64))
    budget.evaluate(space.sample(min(first, budget.left), rng))
    batch = int(np.clip(budget.evaluations // 25, 2, 64))
    while True:
        trials = budget.trials()
        model = _Process(trials, space.choices)
        pool = _candidates(budget, trials, rng)
        mean, deviation = model.predict(pool)
        promise = mean + 0.5 * deviation
        promise = np.where(budget.problem.constraints.violation(pool) > 0, promise - 1e6, promise)
        budget.evaluate(pool[np.argsort(-promise)[:batch]])


def _candidates(budget: Budget, trials: Trials, rng: np.random.Generator) -> Codes:
    space = budget.problem.space
    best = trials.codes[np.argsort(-trials.scores)[:20]]
    parents = best[rng.integers(0, len(best), size=(2, CANDIDATES // 3))]
    pool = np.concatenate([
        space.sample(CANDIDATES // 3, rng),
        space.mutate(parents[0], rng, 1 / len(space.choices)),
        space.mutate(space.cross_over(parents[0], parents[1], rng), rng, 0.0),
    ])  # fmt: skip
    pool = np.unique(pool, axis=0)
    known = {code.tobytes() for code in trials.codes}
    return pool[[code.tobytes() not in known for code in pool]]


class _Process:
    """Gaussian process of the standardised merit on the best and latest trials."""

    def __init__(self, trials: Trials, choices: tuple[int, ...]) -> None:
        usable = np.flatnonzero(np.isfinite(trials.merits))
        if len(usable) > MOST_FITTED:
            order = np.argsort(-trials.merits[usable])
            usable = usable[np.concatenate([order[: MOST_FITTED // 2],
                                            order[MOST_FITTED // 2 :: 2]])][:MOST_FITTED]  # fmt: skip
        self._choices = choices
        self._rows = one_hot(trials.codes[usable], choices)
        merits = trials.merits[usable]
        # Ranks make the process blind to the few architectures that are worth nothing at all.
        low = np.quantile(merits, 0.1) if len(merits) else 0.0
        clipped = np.maximum(merits, low)
        self._mean, self._std = float(clipped.mean()) if len(merits) else 0.0, 1.0
        if len(merits) and clipped.std() > 0:
            self._std = float(clipped.std())
        y = (clipped - self._mean) / self._std
        fits = [self._fit(scale, y) for scale in SCALES]
        self._scale, self._inverse, self._weights, _ = max(fits, key=lambda fit: fit[3])

    def _fit(self, scale: float, y: Floats) -> tuple[float, Floats, Floats, float]:
        kernel = self._kernel(self._rows, self._rows, scale) + NOISE * np.eye(len(y))
        factor = np.linalg.cholesky(kernel)
        inverse: Floats = np.linalg.inv(factor)
        white = inverse @ y
        likelihood = -0.5 * white @ white - np.log(np.diag(factor)).sum()
        return scale, inverse, inverse.T @ white, float(likelihood)

    def _kernel(self, a: Floats, b: Floats, scale: float) -> Floats:
        blocks = len(self._choices)
        found: Floats = np.exp(-(1 - (a @ b.T) / blocks) / scale)
        return found

    def predict(self, codes: Codes) -> tuple[Floats, Floats]:
        """Mean and standard deviation, standardised, each (n,)."""
        cross = self._kernel(one_hot(codes, self._choices), self._rows, self._scale)
        spread = 1 - ((cross @ self._inverse.T) ** 2).sum(axis=1)
        return cross @ self._weights, np.sqrt(np.maximum(spread, 1e-9))
