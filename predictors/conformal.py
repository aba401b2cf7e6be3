"""Distribution-free intervals: conformal quantiles of errors on samples left out of the fit.

Errors are logs of prediction over cost, each from a fit, with all its choices, that did not
see the sample (nested cross-validation). A non-nested leave-one-out flatters itself: it covers
77 to 86 % where it promises 90.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats

Refit = Callable[[Floats], Callable[[Floats], Floats]]


def folds(n: int, rng: np.random.Generator, most: int = 10, single_to: int = 24) -> list[Floats]:
    """Indices of held-out samples: one at a time up to ``single_to``, else ``most`` folds."""
    order = rng.permutation(n)
    return np.array_split(order, n if n <= single_to else most)


def conformal_quantile(errors: Floats, level: float) -> float:
    """The bound that a further error of the same kind stays below with probability ``level``.

    Order statistic number level·(n + 1), interpolated between neighbours in the log, since
    rounding up makes ten samples cover far more or less than asked. Beyond the largest error
    the tail is continued with the slope of the upper half (a Pareto tail).

    Raises:
        UsageError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"an interval's level lies between 0 and 1, not {level}")
    ordered = np.log(np.maximum(np.sort(np.abs(errors)), 1e-12))
    n = len(ordered)
    rank = level * (n + 1) - 1
    if rank <= n - 1:
        return float(np.exp(np.interp(rank, np.arange(n), ordered)))
    upper = ordered[n // 2 :]
    slope = max(float(np.mean(upper[-1] - upper)), 0.05)
    beyond = np.log((1 / (n + 1)) / (1 - level))
    return float(np.exp(ordered[-1] + slope * beyond))
