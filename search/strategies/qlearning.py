"""Q-learning with ε-greedy exploration and experience replay (MetaQNN, arXiv 1611.02167).

A state is the block to be chosen and the choice before it; an episode chooses every block; the
reward comes at the end. Infeasible architectures earn less the more they exceed their limits.
"""

from __future__ import annotations

import numpy as np

from lwprof.predictors.space import Codes, Floats
from lwprof.search.problem import Budget

RATE, REPLAYED, DRAWN, BATCH = 0.2, 96, 48, 8
GREEDY_FROM = 0.5
"""Share of the budget over which ε falls from 1 to its least."""
LEAST = 0.1


def qlearning(budget: Budget, rng: np.random.Generator) -> None:
    """Learns the value of each choice after each choice."""
    choices = np.asarray(budget.problem.space.choices)
    values = np.full((len(choices), choices.max(), choices.max()), np.nan)
    while True:
        spent = 1 - budget.left / budget.evaluations
        epsilon = max(LEAST, 1 - spent / GREEDY_FROM)
        codes = _episodes(values, choices, epsilon, rng)
        # Episodes that are known already would teach what is replayed anyway.
        codes = codes[np.argsort(~budget.is_new(codes), kind="stable")[:BATCH]]
        budget.evaluate(codes)
        trials = budget.trials()
        rows, reward = _replay(trials.codes, trials.merits, trials.violations, rng)
        _learn(values, choices, rows, reward)


def _episodes(values: Floats, choices: Codes, epsilon: float, rng: np.random.Generator) -> Codes:
    codes = np.zeros((DRAWN, len(choices)), dtype=np.int64)
    before = np.zeros(DRAWN, dtype=np.int64)
    for block, options in enumerate(choices):
        known = values[block, before, :options]
        # What was never tried counts as the average of what was.
        mean = np.nan_to_num(np.nanmean(known)) if np.isfinite(known).any() else 0.0
        guess = np.where(np.isnan(known), mean, known) + 1e-9 * rng.random(known.shape)
        drawn = rng.integers(0, options, size=DRAWN)
        codes[:, block] = np.where(rng.random(DRAWN) < epsilon, drawn, np.argmax(guess, axis=1))
        before = codes[:, block]
    return codes


def _replay(codes: Codes, merits: Floats, violations: Floats,
            rng: np.random.Generator) -> tuple[Codes, Floats]:  # fmt: skip
    """Random earlier episodes with rewards between −1 and 1."""
    finite = np.isfinite(merits)
    low, high = (merits[finite].min(), merits[finite].max()) if finite.any() else (0.0, 1.0)
    reward = np.where(finite, (merits - low) / max(high - low, 1e-12), 0.0)
    reward = np.where(violations > 0, -np.minimum(violations, 1.0), reward)
    rows = rng.integers(0, len(codes), size=min(REPLAYED, 4 * len(codes)))
    return codes[rows], reward[rows]


def _learn(values: Floats, choices: Codes, codes: Codes, reward: Floats) -> None:
    """One backward sweep of Q(s, a) ← (1 − r) Q + r max Q(s', ·) for each episode."""
    for code, earned in zip(codes, reward, strict=True):
        target = float(earned)
        for block in reversed(range(len(choices))):
            before = code[block - 1] if block else 0
            old = values[block, before, code[block]]
            new = target if np.isnan(old) else (1 - RATE) * old + RATE * target
            values[block, before, code[block]] = new
            target = float(np.nanmax(values[block, before, : choices[block]]))
