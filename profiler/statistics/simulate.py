"""Simulated devices whose truth is known, on which every estimator here is tried.

A session is a row of log block medians. Block b of a session is

    y_b = L + d_b + u_b + w_b

- ``L``  log of the subject's latency,
- ``d_b``  what the schedule does to the device: drift, a throttle step. Not random;
- ``u_b``  what the machine happens to do from block to block, correlated with its
  neighbours: an AR(1) process, or which of two clusters the process landed on,
- ``w_b``  the rest, independent from block to block.

**Estimand.** The session's average of the expected log block median over unflagged
blocks: mean over unflagged b of ``L + d_b + E[u_b + w_b]``. So a drift is part of
the answer (a session that warms up was that slow on average), while ``u_b`` is noise:
a slow spell of the machine is not a property of the subject, and another session
would not repeat it. This is the strict reading; were ``u_b``'s realised average
counted as truth, every interval below would cover more.

**Oracle.** It knows ``d_b`` and the covariance of ``u + w`` exactly, and states
±1.96 standard errors of the best linear unbiased estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from lwprof.errors import UsageError
from lwprof.profiler.statistics.student import Floats

Flags = npt.NDArray[np.bool_]

CLASSES = ("independent", "autocorrelated", "bimodal", "drifting", "throttling")
"""The five classes of the coverage bar."""

STRESSES = (
    "heavy_tailed",
    "autocorrelated_0.3",
    "autocorrelated_0.75",
    "autocorrelated_and_independent",
    "rare_mode",
    "cyclic_drift",
    "alternating",
    "throttling_and_autocorrelated",
)
"""Harder or odder than the bar asks for; published beside it."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """m simulated sessions of n blocks each.

    Attributes:
        log_medians: shape (m, n), log seconds.
        expected: shape (m, n), expectation of each log block median.
        flagged: shape (m, n), True where a covariate flagged the block.
        linked_variance: shape (m,), variance of the correlated part ``u``.
        correlation: shape (m,), correlation of ``u`` between neighbouring blocks.
        own_variance: shape (m,), variance of the independent part ``w``.
    """

    log_medians: Floats
    expected: Floats
    flagged: Flags
    linked_variance: Floats
    correlation: Floats
    own_variance: Floats

    def taken(self, blocks: int) -> Sessions:
        """The same sessions, ended at the moment they had this many unflagged blocks."""
        late = np.cumsum(~self.flagged, axis=1) > blocks
        return replace(self, flagged=self.flagged | late)

    def rows(self, index: npt.NDArray[np.intp]) -> Sessions:
        """Some of the sessions."""
        return Sessions(*(getattr(self, field.name)[index] for field in fields(self)))

    def unflagged(self) -> npt.NDArray[np.intp]:
        """How many blocks of each session are unflagged, shape (m,)."""
        return np.asarray(np.sum(~self.flagged, axis=1))

    def values(self, blocks: int) -> Floats:
        """The first unflagged log block medians, shape (m, blocks), in time order.

        Raises:
            UsageError: a session has fewer.
        """
        if np.any(self.unflagged() < blocks):
            raise UsageError(f"a simulated session has fewer than {blocks} unflagged blocks")
        order = np.argsort(self.flagged, axis=1, kind="stable")[:, :blocks]
        return np.take_along_axis(self.log_medians, order, axis=1)

    def truth(self) -> Floats:
        """The estimand of each session, log seconds, shape (m,); NaN where all is flagged."""
        kept = ~self.flagged
        count = kept.sum(axis=1)
        total = np.sum(np.where(kept, self.expected, 0.0), axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def oracle_half_width(self) -> Floats:
        """Half-width of the oracle's 95 % interval on the log scale, shape (m,)."""
        # Kalman filter of u with w as observation noise: its innovations whiten the
        # constant 1 regressor, whose squared length is the information on the mean.
        m, n = self.log_medians.shape
        state = np.zeros(m)
        variance = self.linked_variance.copy()
        information = np.zeros(m)
        for b in range(n):
            seen = ~self.flagged[:, b]
            innovation = 1.0 - state
            spread = variance + self.own_variance
            information += np.where(seen, innovation**2 / spread, 0.0)
            gain = np.where(seen, variance / spread, 0.0)
            state = self.correlation * (state + gain * innovation)
            variance = (
                self.correlation**2 * variance * (1.0 - gain)
                + (1.0 - self.correlation**2) * self.linked_variance
            )
        # Where everything was flagged nothing is known.
        known = np.where(information > 0, information, np.nan)
        return np.asarray(1.959964 / np.sqrt(known))


def sessions(kind: str, m: int, n: int, rng: np.random.Generator, spread: float = 0.06) -> Sessions:
    """Draw m sessions of n blocks of one class.

    Args:
        kind: one of ``CLASSES`` or ``STRESSES``.
        m: sessions.
        n: blocks in each.
        rng: the random generator.
        spread: standard deviation of the log block medians about drift and mode;
            2-core virtual machines showed 0.07 to 0.17, quiet machines less.

    Raises:
        UsageError: an unknown class.
    """
    if kind not in _MAKERS:
        raise UsageError(f"unknown class {kind!r}; one of {', '.join(_MAKERS)}")
    return _MAKERS[kind](m, n, rng, spread)


PAIR_NOISES = (
    "gaussian",
    "heavy_tailed",
    "bimodal",
    "autocorrelated_0.3",
    "autocorrelated_0.6",
)
"""Ways in which the log ratios of pairs may scatter."""


def pair_noise(kind: str, m: int, n: int, rng: np.random.Generator, spread: float) -> Floats:
    """Scatter of n log ratios about their expectation, shape (m, n), mean 0.

    - ``heavy_tailed``: Student t with 3 degrees of freedom;
    - ``bimodal``: each arm of a pair lands on a slow cluster with probability 0.4, which
      makes nine tenths of the spread.

    Raises:
        UsageError: an unknown kind.
    """
    normal: Floats = rng.standard_normal((m, n))
    if kind == "gaussian":
        return spread * normal
    if kind == "heavy_tailed":
        tailed: Floats = rng.standard_t(3, (m, n))
        return tailed * (spread / float(np.sqrt(3)))
    if kind == "bimodal":
        slow = rng.random((2, m, n)) < 0.4
        gap = 0.9 * spread / float(np.sqrt(2 * 0.4 * 0.6))
        steps: Floats = slow[1].astype(np.float64) - slow[0]
        rest = spread * float(np.sqrt(1 - 0.81))
        return gap * steps + rest * normal
    if kind.startswith("autocorrelated_"):
        return _noise(m, n, rng, spread**2, float(kind.rpartition("_")[2]))
    raise UsageError(f"unknown pair noise {kind!r}; one of {', '.join(PAIR_NOISES)}")


_Maker = Callable[[int, int, np.random.Generator, float], Sessions]


def _noise(m: int, n: int, rng: np.random.Generator, variance: float, correlation: float) -> Floats:
    """Stationary Gaussian AR(1) rows."""
    fresh = rng.standard_normal((m, n))
    out = np.empty((m, n))
    out[:, 0] = fresh[:, 0]
    for b in range(1, n):
        out[:, b] = correlation * out[:, b - 1] + np.sqrt(1 - correlation**2) * fresh[:, b]
    return out * float(np.sqrt(variance))


def _plain(
    m: int,
    n: int,
    rng: np.random.Generator,
    linked: float = 0.0,
    correlation: float = 0.0,
    own: float = 0.0,
    drift: Floats | None = None,
) -> Sessions:
    expected = np.log(0.02) + (np.zeros((m, n)) if drift is None else drift)
    noise = _noise(m, n, rng, linked, correlation) + np.sqrt(own) * rng.standard_normal((m, n))
    return Sessions(
        expected + noise,
        expected,
        np.zeros((m, n), dtype=bool),
        np.full(m, linked),
        np.full(m, correlation),
        np.full(m, own),
    )


def _independent(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    return _plain(m, n, rng, own=spread**2)


def _heavy_tailed(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    """Skewed and heavy-tailed: 90 % narrow, 10 % slow blocks (exponential tail upwards)."""
    base = _plain(m, n, rng, own=spread**2)
    slow = rng.random((m, n)) < 0.1
    tail = rng.exponential(1.0, (m, n))
    # E = 0.1 · 1, variance of the slow part 0.1 · 2 - 0.01 = 0.19; scaled to `spread`.
    shape = rng.standard_normal((m, n)) * 0.4 + np.where(slow, tail, 0.0) * 2.0 - 0.2
    noise = shape / np.sqrt(0.16 + 4 * 0.19) * spread
    return Sessions(
        base.expected + noise,
        base.expected,
        base.flagged,
        base.linked_variance,
        base.correlation,
        base.own_variance,
    )


def _autocorrelated(correlation: float, own_share: float = 0.0) -> _Maker:
    def make(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
        variance = spread**2
        return _plain(m, n, rng, (1 - own_share) * variance, correlation, own=own_share * variance)

    return make


def _modes(
    m: int, n: int, rng: np.random.Generator, spread: float, share: tuple[float, float]
) -> Sessions:
    """Two clusters: each process lands on the slow one with a session's own probability.

    Gap 10 to 40 % of the latency; in half of the sessions the choice is sticky
    (correlation 0.3 between neighbouring blocks), else independent.
    """
    p = rng.uniform(*share, m)
    gap = rng.uniform(0.1, 0.4, m)
    sticky = np.where(rng.random(m) < 0.5, 0.3, 0.0)
    slow = np.empty((m, n), dtype=bool)
    slow[:, 0] = rng.random(m) < p
    for b in range(1, n):
        stay = rng.random(m) < sticky
        slow[:, b] = np.where(stay, slow[:, b - 1], rng.random(m) < p)
    base = _plain(m, n, rng, own=(spread / 2) ** 2)
    shift = gap[:, None] * slow
    return Sessions(
        base.log_medians + shift,
        base.expected + (gap * p)[:, None],
        base.flagged,
        gap**2 * p * (1 - p),
        sticky,
        base.own_variance,
    )


def _bimodal(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    return _modes(m, n, rng, spread, (0.3, 0.7))


def _rare_mode(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    return _modes(m, n, rng, spread, (0.05, 0.2))


def _drifting(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    """Half of the sessions drift linearly, half warm up exponentially and level off.

    From first to last block by up to ±3 spreads; time constant 0.2 to 1 of a session.
    """
    t = np.linspace(0.0, 1.0, n)[None, :]
    rate = 1.0 / rng.uniform(0.2, 1.0, (m, 1))
    curved = (1 - np.exp(-t * rate)) / (1 - np.exp(-rate))
    shape = np.where(rng.random((m, 1)) < 0.5, curved, t)
    size = rng.uniform(-3.0, 3.0, (m, 1)) * spread
    return _plain(m, n, rng, own=spread**2, drift=size * shape)


def _cyclic_drift(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    """One to three slow waves over the session, amplitude up to two spreads."""
    t = np.linspace(0.0, 1.0, n)[None, :]
    waves = rng.uniform(1.0, 3.0, (m, 1))
    phase = rng.uniform(0.0, 2 * np.pi, (m, 1))
    size = rng.uniform(0.0, 2.0, (m, 1)) * spread
    return _plain(m, n, rng, own=spread**2, drift=size * np.sin(2 * np.pi * waves * t + phase))


def _throttling(
    m: int, n: int, rng: np.random.Generator, spread: float, correlation: float = 0.0
) -> Sessions:
    """Spells of throttling (20 to 60 % slower) that the throttle counter flags.

    The device heats from the start (a drift of up to one spread), throttles for a
    spell, recovers, and may throttle again; on average a fifth of all blocks. The
    flag comes from the counter alone: it also catches 2 % of innocent blocks, and
    never looks at the latency.
    """
    base = _plain(
        m,
        n,
        rng,
        linked=spread**2 if correlation else 0.0,
        correlation=correlation,
        own=0.0 if correlation else spread**2,
        drift=rng.uniform(0.0, spread, (m, 1)) * np.linspace(0.0, 1.0, n)[None, :],
    )
    hot = np.zeros((m, n), dtype=bool)
    for b in range(1, n):
        enters = rng.random(m) < 0.03
        leaves = rng.random(m) < 0.12
        hot[:, b] = np.where(hot[:, b - 1], ~leaves, enters)
    slowdown = np.log(rng.uniform(1.2, 1.6, (m, 1)))
    return Sessions(
        base.log_medians + slowdown * hot,
        base.expected + slowdown * hot,
        hot | (rng.random((m, n)) < 0.02),
        base.linked_variance,
        base.correlation,
        base.own_variance,
    )


def _throttling_correlated(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    return _throttling(m, n, rng, spread, 0.6)


def _alternating(m: int, n: int, rng: np.random.Generator, spread: float) -> Sessions:
    return _plain(m, n, rng, spread**2, -0.5)


_MAKERS: Mapping[str, _Maker] = {
    "independent": _independent,
    "autocorrelated": _autocorrelated(0.6),
    "bimodal": _bimodal,
    "drifting": _drifting,
    "throttling": _throttling,
    "heavy_tailed": _heavy_tailed,
    "autocorrelated_0.3": _autocorrelated(0.3),
    "autocorrelated_0.75": _autocorrelated(0.75),
    "autocorrelated_and_independent": _autocorrelated(0.8, own_share=0.5),
    "rare_mode": _rare_mode,
    "cyclic_drift": _cyclic_drift,
    "alternating": _alternating,
    "throttling_and_autocorrelated": _throttling_correlated,
}
