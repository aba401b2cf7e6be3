"""What a column of costs is, so that nobody takes a figure on it for more than it is worth.

``quantised``: every value is a multiple of one coarse step, so that noise and rounding set the
ceiling. ``additive``: an exact sum over blocks, on which any additive predictor is perfect.
``simulated`` and ``imported`` cannot be seen in numbers: whoever brings the column says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Space, one_hot

DECLARED = ("simulated", "imported", "computed")
COARSE = 0.005
"""A step below this share of the median is the printing of digits, not a measurement's limit."""
EXACT = 1e-4
"""Relative residual below which an additive fit is exact: no measurement repeats so well."""


def column_labels(
    y: Any, space: Space | None = None, codes: Any = None, declared: Iterable[str] = ()
) -> tuple[str, ...]:
    """Labels of a column, sorted.

    Args:
        y: (n,) positive costs, SI units.
        space, codes: (n, blocks) the architectures; without them additivity is not tested, and
            neither where there are fewer than 1.5 times as many rows as an additive table has
            free costs.
        declared: what is known of the column beforehand.

    Raises:
        UsageError: something declared that is no label.
    """
    found = set(declared)
    if strange := found - set(DECLARED):
        raise UsageError(f"a column is declared {', '.join(DECLARED)}, not {min(strange)!r}")
    costs = np.asarray(y, dtype=np.float64)
    if _step(costs) > COARSE * float(np.median(costs)):
        found.add("quantised")
    if space is not None and codes is not None and _is_additive(space, codes, costs):
        found.add("additive")
    return tuple(sorted(found))


def _step(costs: Any) -> float:
    """The largest power of ten, or half of one, of which all costs are multiples; 0 for none."""
    top = int(np.floor(np.log10(costs.max()))) + 1
    for power in range(top, top - 7, -1):
        for step in (10.0**power, 0.5 * 10.0**power):
            off = np.abs(costs / step - np.rint(costs / step))
            # One value is a multiple of something anyway; several different ones are not.
            if (off < 1e-6).all() and len(np.unique(costs)) > 1:
                return step
    return 0.0


def _is_additive(space: Space, codes: Any, costs: Any) -> bool:
    free = 1 + sum(options - 1 for options in space.choices)
    if len(costs) < 1.5 * free:
        return False
    given = np.asarray(codes)
    rows = np.concatenate([one_hot(given, space.choices), np.ones((len(given), 1))], axis=1)
    order = np.random.default_rng(0).permutation(len(costs))
    held = order[: max(1, len(costs) // 6)]
    kept = np.setdiff1d(order, held)
    beta = np.linalg.lstsq(rows[kept] / costs[kept, None], np.ones(len(kept)), rcond=1e-10)[0]
    return bool(np.sqrt(np.mean((rows[held] @ beta / costs[held] - 1) ** 2)) < EXACT)
