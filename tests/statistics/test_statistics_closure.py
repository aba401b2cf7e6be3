"""Kernel times: planted truths, additivity, and nothing below the resolution becomes 0."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from lwprof.errors import UsageError
from lwprof.profiler.statistics import central_mean, closure, group_estimate, kernel_estimates
from lwprof.profiler.statistics.closure import bounded_below

durations = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 6)),
                       elements=st.floats(0, 1))  # fmt: skip


def planted(rng, blocks=8, runs=60, truth=(5e-6, 1e-4, 3e-3), bias=2e-6):
    """Blocks whose machine state varies by 5 %, iterations skewed, some far out."""
    out = []
    for _ in range(blocks):
        state = np.exp(rng.normal(0, 0.05))
        skew = 1 + 0.02 * rng.exponential(size=(runs, len(truth)))
        slow = np.where(rng.random((runs, 1)) < 0.05, 5.0, 1.0)
        out.append(np.asarray(truth) * state * skew * slow + bias)
    return out


@settings(deadline=None, max_examples=40)
@given(durations)
def test_parts_add_up_to_the_whole(values):
    assert float(central_mean(values).sum()) == pytest.approx(
        float(central_mean(values.sum(axis=1))), abs=1e-9
    )


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)))
def test_central_mean_lies_within_the_central_values(values):
    ranked = np.sort(values)
    quarter = min(math.floor(len(values) / 4), (len(values) - 1) // 2)
    central = ranked[quarter : len(values) - quarter]
    assert central[0] - 1e-12 <= float(central_mean(values)) <= central[-1] + 1e-12


def test_central_mean_against_scipy_and_medians_that_do_not_add():
    values = np.random.default_rng(1).exponential(size=(4000, 20))
    totals = values.sum(axis=1)
    assert float(central_mean(totals)) == pytest.approx(stats.trim_mean(totals, 0.25))
    assert float(np.median(values, axis=0).sum() / np.median(totals)) < 0.8
    assert float(central_mean(values).sum() / central_mean(totals)) == pytest.approx(1.0)
    assert central_mean(values, fraction=1.0) == pytest.approx(values.mean(axis=0))
    assert float(central_mean([3.0])) == 3.0


def test_planted_kernels_are_recovered():
    rng = np.random.default_rng(2)
    found = kernel_estimates(planted(rng), bias_s=2e-6)
    for estimate, truth in zip(found, (5e-6, 1e-4, 3e-3), strict=True):
        assert estimate.low < truth * 1.02 < estimate.high
        assert (estimate.blocks, estimate.n) == (8, 480)
    # Not subtracting what the profiler adds spoils the small ones.
    assert kernel_estimates(planted(rng))[0].low > 6e-6


def test_kernel_intervals_cover_over_processes():
    hits = 0
    for seed in range(200):
        blocks = [np.full((3, 1), x) for x in np.random.default_rng(seed).normal(1, 0.1, 8)]
        found = kernel_estimates(blocks)[0]
        hits += found.low <= 1 <= found.high
    assert hits >= stats.binom.ppf(0.001, 200, 0.95)


def test_below_the_resolution_is_at_most():
    rng = np.random.default_rng(3)
    blocks = [rng.normal(2e-7, 1e-7, (50, 3)) for _ in range(6)]
    for estimate in kernel_estimates(blocks, resolution_s=4e-6):
        assert (estimate.at_most, estimate.value, estimate.low) == (True, 4e-6, 0.0)
    # Bias larger than what was seen: negative means are bounded, not reported.
    for estimate in kernel_estimates(blocks, bias_s=3e-7):
        assert estimate.at_most and estimate.value > 0
    whole = group_estimate(blocks, [0, 1, 2])
    assert not whole.at_most
    assert whole.low < 6e-7 < whole.high


def test_one_block_gives_no_upper_end():
    known = bounded_below(np.array([2e-3]), 1e-6)
    assert (known.value, known.high, known.at_most) == (2e-3, math.inf, False)
    small = bounded_below(np.array([-1e-7]), 1e-6)
    assert (small.value, small.at_most) == (1e-6, True)
    nothing = bounded_below(np.array([0.0, 0.0]), 0.0)
    assert nothing.at_most and nothing.value > 0


def test_a_bias_for_each_block_and_node():
    blocks = [np.full((4, 2), 1.0), np.full((4, 2), 2.0)]
    bias = np.array([[0.0, 0.5], [1.0, 1.5]])
    found = kernel_estimates(blocks, bias)
    assert [e.value for e in found] == pytest.approx([1.0, 0.5])


def test_closure():
    assert closure(1.02, 1.0) == pytest.approx(0.02)
    for bad in ((1.0, 0.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)):
        with pytest.raises(UsageError):
            closure(*bad)


@pytest.mark.parametrize(
    "blocks", [[], [np.ones((3, 2)), np.ones((3, 3))], [np.ones(3)], [np.ones((0, 2))],
               [np.array([[1.0, math.nan]])]],
)  # fmt: skip
def test_refuses_blocks_that_do_not_fit(blocks):
    with pytest.raises(UsageError):
        kernel_estimates(blocks)


def test_refuses_empty_groups_and_odd_fractions():
    with pytest.raises(UsageError):
        group_estimate([np.ones((3, 2))], [])
    for fraction in (0.0, 1.5, math.nan):
        with pytest.raises(UsageError):
            central_mean([1.0, 2.0], fraction)
