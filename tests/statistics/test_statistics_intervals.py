"""Intervals: against brute force, on degenerate input, and that they cover."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lwprof.errors import UsageError
from lwprof.profiler.statistics import latency_interval, mean_interval, percentile_interval
from lwprof.profiler.statistics.intervals import sequential_level
from lwprof.profiler.statistics.serial import given_correlation, mean_error, mean_half_width
from lwprof.profiler.statistics.simulate import CLASSES, sessions

medians = st.lists(st.floats(1e-6, 10.0), min_size=2, max_size=30)


def covariance(places, phi):
    distance = np.abs(np.subtract.outer(places, places))
    return np.where(distance == 0, 1.0, phi**distance if phi else 0.0)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("places", [np.arange(9.0), np.array([0, 1, 2, 5, 6, 7, 9, 10, 14.0])])
def test_given_correlation_is_generalised_least_squares(phi, places):
    rng = np.random.default_rng(4)
    y = rng.normal(3, 2, 9)
    _, squares, error = (x[0] for x in given_correlation(y[None], places[None], np.array([phi])))
    v = covariance(places, phi)
    x = np.column_stack([np.ones(9), places - places.mean()])
    inverse = np.linalg.inv(v)
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    residual = y - x @ beta
    expected = residual @ inverse @ residual
    assert squares[0] == pytest.approx(expected)
    assert error[0] == pytest.approx(math.sqrt(expected / 7 * v.sum() / 81))


def test_evidence_is_the_marginal_likelihood():
    """Differences between two φ, by integrating level, slope and scale out numerically."""
    rng = np.random.default_rng(5)
    y = rng.normal(0, 1, 7)
    places = np.arange(7.0)
    x = np.column_stack([np.ones(7), (places - 3) / 7])

    def brute(phi):
        v = covariance(places, phi)
        log_scale = np.linspace(-3, 4, 4001)
        # Level and slope integrate analytically against a flat prior given the scale.
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        beta = np.linalg.solve(information, x.T @ inverse @ y)
        s = (y - x @ beta) @ inverse @ (y - x @ beta)
        log_density = (
            -0.5 * np.linalg.slogdet(v)[1] - 0.5 * np.linalg.slogdet(information)[1]
            - 5 * log_scale - s / (2 * np.exp(2 * log_scale))
        )  # fmt: skip
        return np.log(np.trapezoid(np.exp(log_density), log_scale))

    phis = np.array([0.0, 0.4, 0.8])
    found = given_correlation(y[None], places[None], phis)[0][:, 0]
    evidence = dict(zip(phis, found, strict=True))
    assert evidence[0.4] - evidence[0.0] == pytest.approx(brute(0.4) - brute(0.0), abs=1e-6)
    assert evidence[0.8] - evidence[0.0] == pytest.approx(brute(0.8) - brute(0.0), abs=1e-6)


def test_half_width_is_the_quantile_of_the_mixture():
    rng = np.random.default_rng(6)
    error = mean_error(rng.normal(size=(3, 20)))
    half = error.half_width(0.95)
    inside = [
        sum(w * (2 * stats.t.cdf(h / e, error.df) - 1)
            for w, e in zip(error.weights[:, row], error.errors[:, row], strict=True))
        for row, h in enumerate(half)
    ]  # fmt: skip
    assert inside == pytest.approx([0.95] * 3)
    assert error.p_value(half) == pytest.approx([0.05] * 3)


@settings(deadline=None, max_examples=40)
@given(medians, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(values, scale):
    one, other = latency_interval(values), latency_interval([v * scale for v in values])
    assert other.value == pytest.approx(one.value * scale, rel=1e-9)
    if math.isfinite(one.high):
        # Rounding decides about φ where all medians are equal to within rounding.
        slack = 1e-6 * (one.high - one.low) + 1e-9 * one.value
        assert other.low / scale == pytest.approx(one.low, abs=slack)


@settings(deadline=None, max_examples=40)
@given(medians)
def test_the_value_is_the_geometric_mean_and_lies_inside(values):
    found = latency_interval(values)
    assert found.value == pytest.approx(stats.gmean(values))
    assert found.low <= found.value <= found.high


def test_a_trend_does_not_widen_the_interval():
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 0.05, 30)
    flat = mean_half_width(noise)
    assert mean_half_width(noise + np.linspace(-3, 3, 30)) == pytest.approx(flat, rel=1e-6)


def test_sticky_blocks_widen_it_beyond_a_plain_t():
    sticky = sessions("autocorrelated", 200, 40, np.random.default_rng(8)).log_medians
    plain = stats.t.ppf(0.975, 39) * sticky.std(axis=1, ddof=1) / math.sqrt(40)
    assert np.median(mean_half_width(sticky) / plain) > 1.8


def test_positions_tell_that_distant_blocks_are_less_alike():
    rng = np.random.default_rng(9)
    runs = sessions("autocorrelated", 50, 40, rng).log_medians
    apart = np.arange(40.0)
    apart[20:] += 40  # the middle of the session was flagged
    assert np.all(mean_half_width(runs, positions=apart) != mean_half_width(runs))
    same = mean_half_width(runs, positions=3 * np.arange(40.0) + 7)
    assert same == pytest.approx(mean_half_width(runs))


def test_few_blocks_are_wide_and_one_is_unbounded():
    logs = np.random.default_rng(10).normal(math.log(0.01), 0.05, (100, 12))
    widths = [float(np.mean(mean_half_width(logs[:, :n]))) for n in (2, 3, 5, 8, 12)]
    assert widths == sorted(widths, reverse=True)
    one = latency_interval([0.01])
    assert (one.low, one.high, one.blocks) == (0.0, math.inf, 1)


@pytest.mark.parametrize("blocks", [2, 3, 4, 5, 6, 7, 11])
def test_few_blocks_still_cover(blocks):
    for kind in ("independent", "autocorrelated"):
        drawn = sessions(kind, 1000, blocks, np.random.default_rng(blocks))
        half = mean_half_width(drawn.log_medians)
        covered = np.mean(np.abs(drawn.log_medians.mean(axis=1) - drawn.truth()) <= half)
        assert covered > 0.92


def test_equal_blocks_give_the_clocks_step_as_width():
    exact = latency_interval([0.004] * 12)
    assert exact.relative_half_width < 1e-12
    stepped = latency_interval([0.004] * 12, resolution_s=1e-6)
    assert (stepped.low, stepped.high) == pytest.approx((0.0039995, 0.0040005))


def test_stopping_costs_width():
    values = np.exp(np.random.default_rng(11).normal(-4, 0.05, 30))
    adaptive = latency_interval(values)
    planned = latency_interval(values, sequential=False)
    assert 1.05 < adaptive.relative_half_width / planned.relative_half_width < 1.25
    assert adaptive.level == planned.level == 0.95
    assert sequential_level(0.95) == pytest.approx(0.97)


@pytest.mark.parametrize("bad", [[], [0.1, math.nan], [0.1, math.inf], [0.1, 0.0], [0.1, -1.0]])
def test_latency_refuses_what_is_no_time(bad):
    with pytest.raises(UsageError):
        latency_interval(bad)


@pytest.mark.parametrize("positions", [[1, 2], [1, 1, 2], [3, 2, 1], [1, 2, math.nan]])
def test_positions_must_increase(positions):
    with pytest.raises(UsageError):
        latency_interval([0.1, 0.2, 0.3], positions=positions)


def test_mean_interval_is_students():
    values = np.random.default_rng(12).normal(5, 2, 9)
    low, high = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    found = mean_interval(values, n=90)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.blocks, found.n) == (9, 90)
    assert mean_interval(values, serial=True).half_width > found.half_width
    assert mean_interval([3.0]).high == math.inf
    with pytest.raises(UsageError):
        mean_interval([1.0, math.nan])


@pytest.mark.parametrize("kind", CLASSES)
def test_coverage_sample(kind):
    """300 sessions of 32 blocks; benchmarks/coverage.py does 2,000 of many sizes."""
    drawn = sessions(kind, 330, 64, np.random.default_rng(13))
    drawn = drawn.rows(np.flatnonzero(drawn.unflagged() >= 32)[:300])
    values, ended = drawn.values(32), drawn.taken(32)
    half = mean_half_width(values)
    covered = int(np.sum(np.abs(values.mean(axis=1) - ended.truth()) <= half))
    # Would be seen once in 1,000 if the coverage were 93 %.
    assert covered >= stats.binom.ppf(0.001, len(values), 0.93)
    assert half.mean() / ended.oracle_half_width().mean() < 1.45


def test_percentile_needs_a_thousand_iterations():
    assert percentile_interval([np.ones(333)] * 3, 0.99) is None
    assert percentile_interval([], 0.99) is None
    assert percentile_interval([np.ones(334)] * 3, 0.99).value == 1.0


@pytest.mark.parametrize("q", [0.95, 0.99])
def test_percentile_covers_with_blocks_that_differ(q):
    rng = np.random.default_rng(14)
    hits = 0
    for _ in range(300):
        shifts = rng.normal(0, 0.1, 14)
        found = percentile_interval([rng.normal(s, 1, 200) for s in shifts], q)
        hits += found.low <= stats.norm.ppf(q, scale=math.hypot(1, 0.1)) <= found.high
        assert found.n == 2800
    assert hits >= stats.binom.ppf(0.001, 300, 0.93)


def test_percentile_of_shifted_blocks_is_wider_than_of_equal_ones():
    rng = np.random.default_rng(15)
    noise = [rng.normal(0, 1, 200) for _ in range(12)]
    shifted = [block + s for block, s in zip(noise, rng.normal(0, 1, 12), strict=True)]
    equal = percentile_interval(noise, 0.95)
    assert percentile_interval(shifted, 0.95).half_width > 2 * equal.half_width


def test_percentile_of_one_process_is_unbounded():
    found = percentile_interval([np.arange(2000.0)], 0.95)
    assert (found.value, found.low, found.high) == (1899.0, 0.0, math.inf)
    with pytest.raises(UsageError):
        percentile_interval([np.arange(2000.0)], 1.0)
    with pytest.raises(UsageError):
        percentile_interval([np.r_[np.arange(2000.0), math.nan]], 0.5)
