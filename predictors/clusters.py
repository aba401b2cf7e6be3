"""Choosing members that stand for a whole set: the centres of k clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats

PASSES = 25


def central_members(points: Floats, k: int, rng: np.random.Generator) -> Any:
    """Indices of k different points, each nearest to the centre of one of k clusters (k-means).

    Raises:
        UsageError: fewer points than asked for.
    """
    if not 1 <= k <= len(points):
        raise UsageError(f"cannot choose {k} of {len(points)} candidates")
    centres = points[_spread_out(points, k, rng)]
    for _ in range(PASSES):
        nearest = _distances(points, centres).argmin(axis=1)
        filled = [points[nearest == c].mean(axis=0) if (nearest == c).any() else centres[c]
                  for c in range(k)]  # fmt: skip
        if np.allclose(filled, centres):
            break
        centres = np.array(filled)
    chosen: list[int] = []
    for row in _distances(centres, points):
        row[chosen] = np.inf
        chosen.append(int(row.argmin()))
    return np.array(chosen)


def _distances(a: Floats, b: Floats) -> Floats:
    square: Floats = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(square, 0)


def _spread_out(points: Floats, k: int, rng: np.random.Generator) -> list[int]:
    """k-means++: each next seed with probability proportional to its squared distance."""
    chosen = [int(rng.integers(len(points)))]
    nearest = _distances(points, points[chosen]).min(axis=1)
    while len(chosen) < k:
        total = nearest.sum()
        weights = nearest / total if total > 0 else None
        chosen.append(int(rng.choice(len(points), p=weights)))
        nearest = np.minimum(nearest, _distances(points, points[chosen[-1:]])[:, 0])
    return chosen
