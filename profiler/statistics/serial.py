"""The interval of a mean whose samples come one after another and may hang together.

Blocks that are measured in sequence share what the machine was doing: a slow
block is often followed by another. A plain t interval then covers far less than
it says (62 % instead of 95 % at 12 blocks with correlation 0.6), and one with a
von Neumann (successive difference) variance still less, since neighbours that
resemble each other make their differences small. On the other hand a slow trend
makes the plain variance, and every estimate of correlation made from it, far too
large.

Model of the values y_1 … y_n at positions s_1 … s_n of the session::

    y_i = a + b (s_i - mean(s)) + e_i,    corr(e_i, e_j) = φ^|s_i - s_j|

with a, b, the scale and φ unknown. ``a`` is the session's average and is estimated
by the plain mean. For a given φ the mean's standard error is known from generalised
least squares and its error is Student t with n - 2 degrees of freedom. φ itself
cannot be told well from a few dozen blocks, so no single φ is plugged in: the error's
distribution is the mixture over φ, weighted by each φ's marginal likelihood (a, b
and the scale integrated out) and a prior that puts ``_INDEPENDENT`` on φ = 0 and the
rest evenly on (0, ``_PHI_MAX``). The prior was chosen, and its coverage measured, by
simulation; ``benchmarks/coverage.py`` repeats it. Negative correlation is treated as
none, which errs to the wide side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lwprof.profiler.statistics.student import (
    Floats,
    student_t_density,
    student_t_quantile,
    student_t_two_sided,
)

_PHI_MAX = 0.88
_PHI_STEPS = 22
_INDEPENDENT = 0.2
_VALUES_AT_ONCE = 20_000
TREND_FROM = 6
"""From this many values on a linear trend is taken out; fewer cannot afford it."""


@dataclass(frozen=True, slots=True)
class MeanError:
    """Distribution of (plain mean - expectation) for m rows: a mixture of scaled t.

    Attributes:
        weights: shape (φ, m), summing to 1 over φ.
        errors: shape (φ, m), the mean's standard error given φ.
        df: degrees of freedom of each component.
    """

    weights: Floats
    errors: Floats
    df: int

    def half_width(self, level: float) -> Floats:
        """The h with P(|error| <= h) = level, shape (m,)."""
        half: Floats = student_t_quantile((1 + level) / 2, self.df) * self.errors.min(axis=0)
        errors = np.maximum(self.errors, 1e-300)
        for _ in range(60):
            # The probability is concave in h, so Newton from below climbs without overshoot.
            scaled = half / errors
            missing = level - np.sum(self.weights * student_t_two_sided(scaled, self.df), axis=0)
            density = student_t_density(scaled, self.df) / errors
            step = missing / (2.0 * np.sum(self.weights * density, axis=0))
            half = half + np.maximum(step, 0.0)
            if np.all(step <= 1e-9 * half):
                break
        return half

    def p_value(self, distance: Floats) -> Floats:
        """P(|error| > distance), shape (m,): two-sided, of "the expectation lies so far off"."""
        scaled = np.abs(distance) / np.maximum(self.errors, 1e-300)
        inside: Floats = np.sum(self.weights * student_t_two_sided(scaled, self.df), axis=0)
        return np.clip(1.0 - inside, 0.0, 1.0)


def mean_error(values: Floats, positions: npt.ArrayLike | None = None) -> MeanError:
    """What is known of the plain mean's error, for each row.

    Args:
        values: shape (m, n), n >= 2, finite; each row one session in time order.
        positions: shape (m, n) or (n,), increasing: where in the session each value was
            taken, if some places were left out. Only the ratios of the distances matter.
            Default: evenly spaced.
    """
    rows, places = _rows(values, positions)
    phis, prior = _grid()
    # Some rows at a time, which bounds the memory of thousands of simulated sessions.
    step = max(1, _VALUES_AT_ONCE // rows.shape[1])
    parts = [
        given_correlation(rows[start : start + step], places[start : start + step], phis)
        for start in range(0, max(1, len(rows)), step)
    ]
    evidence, _, errors = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    log_weights = np.log(prior)[:, None] + evidence
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return MeanError(weights / weights.sum(axis=0), errors, rows.shape[1] - _fitted(rows.shape[1]))


def mean_half_width(
    values: Floats, level: float = 0.95, positions: npt.ArrayLike | None = None
) -> Floats:
    """Half-width of the interval around the plain mean, for one row (n,) or several (m, n).

    Returns:
        Shape () or (m,), in the unit of ``values``; 0 (but for rounding) where all
        values of a row are equal.
    """
    half = mean_error(np.atleast_2d(values), positions).half_width(level)
    return half.reshape(np.shape(values)[:-1])


def _rows(values: Floats, positions: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    n = np.shape(values)[-1]
    rows = np.asarray(values, dtype=np.float64).reshape(-1, n)
    places = np.arange(n, dtype=np.float64) if positions is None else np.asarray(positions, float)
    gaps = np.diff(np.broadcast_to(places.reshape(-1, n), rows.shape), axis=1)
    # Two values at nearly the same place would count as one; keep them a little apart.
    gaps = np.maximum(gaps / np.median(gaps, axis=1, keepdims=True), 1e-3)
    return rows, np.concatenate([np.zeros_like(gaps[:, :1]), np.cumsum(gaps, axis=1)], axis=1)


def _fitted(n: int) -> int:
    return 2 if n >= TREND_FROM else 1


def _grid() -> tuple[Floats, Floats]:
    middles = (np.arange(_PHI_STEPS) + 0.5) * (_PHI_MAX / _PHI_STEPS)
    prior = np.full(_PHI_STEPS, (1.0 - _INDEPENDENT) / _PHI_STEPS)
    return np.r_[0.0, middles], np.r_[_INDEPENDENT, prior]


def given_correlation(rows: Floats, places: Floats, phis: Floats) -> tuple[Floats, Floats, Floats]:
    """What the model says of each row if the correlation is φ.

    Args:
        rows: shape (m, n).
        places: shape (m, n), increasing.
        phis: shape (k,), correlations at distance 1, in [0, 1).

    Returns:
        Marginal log likelihood (a, b and the scale integrated out, up to a constant),
        generalised residual sum of squares, standard error of the plain mean; each of
        shape (k, m).
    """
    link = phis[:, None, None] ** np.diff(places, axis=1)
    fresh = 1.0 - link**2
    root = np.sqrt(fresh)

    def whiten(x: Floats) -> Floats:
        rest = (x[:, 1:] - link * x[:, :-1]) / root
        first = np.broadcast_to(x[:, :1], (*rest.shape[:2], 1))
        return np.concatenate([first, rest], axis=2)

    n = rows.shape[1]
    level = whiten(np.ones_like(rows))
    # Taking the row's mean out first loses nothing and keeps the sums small.
    rest, level_square = _without(whiten(rows - rows.mean(axis=1, keepdims=True)), level)
    log_determinant = np.log(level_square)
    if _fitted(n) == 2:
        slope = whiten((places - places.mean(axis=1, keepdims=True)) / n)
        slope, _ = _without(slope, level)
        rest, slope_square = _without(rest, slope)
        log_determinant = log_determinant + np.log(slope_square)
    # Equal values leave rounding only; a floor keeps the logarithm finite.
    floor = (np.finfo(float).eps * np.max(np.abs(rows), axis=1)) ** 2 + 1e-300
    squares = np.sum(rest**2, axis=2) + floor
    df = n - _fitted(n)
    evidence = -0.5 * (np.sum(np.log(fresh), axis=2) + log_determinant + df * np.log(squares))
    return evidence, squares, np.sqrt(squares / df * _mean_variance_factor(link))


def _without(x: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """``x`` less its part along ``direction``, and the squared length of that direction."""
    square = np.sum(direction**2, axis=2)
    share = np.sum(direction * x, axis=2) / square
    return x - direction * share[:, :, None], square


def _mean_variance_factor(link: Floats) -> Floats:
    """Variance of the plain mean of unit-variance values with neighbours correlated by ``link``."""
    n = link.shape[2] + 1
    # Sum of φ^|s_i - s_j| over i < j by carrying the sum over earlier i forward.
    carried = np.zeros(link.shape[:2])
    pairs = np.zeros(link.shape[:2])
    for i in range(n - 1):
        carried = (carried + 1.0) * link[:, :, i]
        pairs += carried
    return np.asarray((n + 2.0 * pairs) / n**2)
