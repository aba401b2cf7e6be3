"""Student's t distribution in numpy, so that intervals need no further dependency.

The distribution function comes from the regularised incomplete beta function
by its continued fraction (Numerical Recipes, section 6.4, modified Lentz), the
quantile by Newton steps on it. Checked against scipy in the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lwprof.errors import UsageError

Floats = npt.NDArray[np.float64]

_TINY = 1e-300
_EPS = 1e-15
_MAX_STEPS = 400
_FINITE_SUM_DF = 1000


def student_t_two_sided(x: npt.ArrayLike, df: float) -> Floats:
    """P(|T| <= x) for x >= 0, elementwise; the central probability an interval needs.

    Args:
        x: any shape, non-negative; ``inf`` gives 1.
        df: degrees of freedom, > 0.

    Raises:
        UsageError: ``df`` is not positive, or an ``x`` is negative or NaN.
    """
    values = np.asarray(x, dtype=np.float64)
    if not df > 0:
        raise UsageError(f"degrees of freedom must be positive, not {df!r}")
    if not np.all(values >= 0):
        raise UsageError("the two-sided t probability needs x >= 0")
    if df == int(df) and df <= _FINITE_SUM_DF:
        return _finite_sum(values, int(df))
    with np.errstate(over="ignore", invalid="ignore"):
        # P(|T| <= x) = I_z(1/2, df/2) with z = x² / (df + x²).
        z = np.where(np.isinf(values), 1.0, values**2 / (df + values**2))
    return _incomplete_beta(0.5, df / 2, np.where(np.isnan(z), 1.0, z))


def student_t_cdf(x: npt.ArrayLike, df: float) -> Floats:
    """P(T <= x), elementwise. Raises UsageError as ``student_t_two_sided`` does."""
    values = np.asarray(x, dtype=np.float64)
    if np.any(np.isnan(values)):
        raise UsageError("the t distribution function needs numbers, not NaN")
    square = np.where(np.isinf(values), np.inf, values**2)
    # The upper tail straight from I(df/2, 1/2): 1 - P would lose the far tail's digits.
    with np.errstate(divide="ignore"):
        tail = 0.5 * _incomplete_beta(df / 2, 0.5, df / (df + square)) if df > 0 else None
    if tail is None:
        raise UsageError(f"degrees of freedom must be positive, not {df!r}")
    return np.where(values >= 0, 1.0 - tail, tail)


@lru_cache(maxsize=4096)
def student_t_quantile(p: float, df: float) -> float:
    """The x with P(T <= x) = p.

    Raises:
        UsageError: ``p`` outside (0, 1) or ``df`` not positive.
    """
    if not 0.0 < p < 1.0:
        raise UsageError(f"a quantile's probability must lie between 0 and 1, not {p!r}")
    if not df > 0:
        raise UsageError(f"degrees of freedom must be positive, not {df!r}")
    if p == 0.5:
        return 0.0
    tail = min(p, 1.0 - p)
    low, high = 0.0, 1.0
    while float(student_t_cdf(-high, df)) > tail:
        low, high = high, high * 2
    x = min(max(-NormalDist().inv_cdf(tail), low), high)
    for _ in range(200):
        # Newton inside a bracket: the tail probability falls monotonically with x.
        error = float(student_t_cdf(-x, df)) - tail
        low, high = (x, high) if error > 0 else (low, x)
        step = x + error / _density(x, df)
        new = step if low < step < high else (low + high) / 2
        if abs(new - x) <= 1e-14 * max(new, 1.0):
            x = new
            break
        x = new
    return x if p > 0.5 else -x


def student_t_density(x: Floats, df: float) -> Floats:
    """Density of Student's t, elementwise."""
    return np.exp(_log_scale(df) - (df + 1) / 2 * np.log1p(x**2 / df))


def _finite_sum(x: Floats, df: int) -> Floats:
    """P(|T| <= x) for whole df: Abramowitz and Stegun 26.7.3 and 26.7.4, by Horner's rule."""
    angle = np.arctan(x / math.sqrt(df))
    sine, square = np.sin(angle), np.cos(angle) ** 2
    total = np.ones_like(angle) if df > 1 else np.zeros_like(angle)
    for k in range(df - 2, 1, -2):
        # Coefficients: 1/2, 3/4, 5/6 … for even df; 2/3, 4/5 … for odd.
        total = 1.0 + total * square * ((k - 1) / k)
    if df % 2 == 0:
        return np.asarray(sine * total)
    return np.asarray((angle + sine * np.cos(angle) * total) * (2 / math.pi))


def _density(x: float, df: float) -> float:
    return math.exp(_log_scale(df) - (df + 1) / 2 * math.log1p(x * x / df))


def _log_scale(df: float) -> float:
    return math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)


def _incomplete_beta(a: float, b: float, x: Floats) -> Floats:
    """Regularised I_x(a, b), elementwise for x in [0, 1]."""
    # The fraction converges fast below the mean of Beta(a, b), so the other
    # side uses I_x(a, b) = 1 - I_{1-x}(b, a).
    flat = np.atleast_1d(x).ravel()
    above = flat > (a + 1) / (a + b + 2)
    out = np.empty_like(flat)
    out[~above] = _beta_fraction(a, b, flat[~above])
    out[above] = 1.0 - _beta_fraction(b, a, 1.0 - flat[above])
    return out.reshape(np.shape(x))


def _beta_fraction(a: float, b: float, x: Floats) -> Floats:
    """I_x(a, b) where the continued fraction converges, shape (k,); 0 at x = 0."""
    if x.size == 0:
        return x
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(a)
    with np.errstate(divide="ignore"):
        front = np.exp(scale + a * np.log(x) + b * np.log1p(-x))
    c = np.ones_like(x)
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    h = d.copy()
    for m in range(1, _MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        h = h * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        h = h * d * c
        if np.all(np.abs(d * c - 1.0) < _EPS):
            break
    return front * h


def _away_from_zero(x: Floats) -> Floats:
    return np.where(np.abs(x) < _TINY, _TINY, x)
