"""Verdicts, gates and Holm's correction; and how often the verdict errs on simulated pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lwprof.errors import UsageError
from lwprof.profiler.statistics import (
    Estimate,
    PairedDesign,
    compare_independent,
    compare_log_ratios,
    gate,
    holm,
)
from lwprof.profiler.statistics.serial import mean_error
from lwprof.profiler.statistics.simulate import PAIR_NOISES, pair_noise
from lwprof.profiler.statistics.verdict import judge

ratios = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=20)


def shares(kind, spread, effect, count=300, seed=1):
    """Shares of (undecided, same, different) after the whole design."""
    pairs = pair_noise(kind, count, 60, np.random.default_rng(seed), spread) + effect
    verdict = np.zeros(count, dtype=int)
    for look in PairedDesign().looks:
        open_ = np.flatnonzero(verdict == 0)
        seen = pairs[open_, :look]
        verdict[open_] = judge(seen, mean_error(seen))
    return np.bincount(verdict, minlength=3) / count


def test_looks():
    design = PairedDesign()
    assert [n for n in range(60) if design.is_look(n)] == [10, 20, 40]
    assert [design.next_look(n) for n in (0, 9, 10, 40, 59, 60)] == [10, 10, 20, 60, 60, None]
    assert design.is_look(60) and design.is_look(61)


@pytest.mark.parametrize("kind", PAIR_NOISES)
def test_equal_networks_are_seldom_called_different(kind):
    for spread in (0.03, 0.08):
        assert shares(kind, spread, 0.0)[2] * 300 <= stats.binom.ppf(0.999, 300, 0.05)


@pytest.mark.parametrize("kind", ["gaussian", "heavy_tailed", "bimodal"])
def test_a_slowdown_of_5_percent_is_found(kind):
    found = shares(kind, 0.08, math.log(1.05))
    assert found[2] * 300 >= stats.binom.ppf(0.001, 300, 0.9)
    assert found[1] <= 0.02


@pytest.mark.parametrize("kind", ["gaussian", "heavy_tailed", "bimodal", "autocorrelated_0.3"])
def test_it_seldom_abstains_where_pairs_agree(kind):
    assert shares(kind, 0.05, 0.0)[0] * 300 <= stats.binom.ppf(0.999, 300, 0.15)


def test_a_proven_but_tiny_difference_is_the_same():
    logs = np.log(1.005) + np.random.default_rng(2).normal(0, 0.001, 20)
    found = compare_log_ratios(logs)
    assert found.p_value < 1e-4
    assert found.verdict == "same"
    assert compare_log_ratios(logs, margin=0.002).verdict == "different"


def test_undecided_goes_on_until_the_last_look():
    logs = np.random.default_rng(3).normal(0.03, 0.1, 10)
    assert compare_log_ratios(logs).verdict is None
    last = compare_log_ratios(logs, final=True)
    assert (last.verdict, last.reason) == ("unfit", "undecided")
    assert last.with_reason("environment").reason == "environment"


def test_few_pairs_never_decide():
    for logs in ([0.5] * 4, [0.0] * 4, [0.5]):
        assert compare_log_ratios(logs).verdict is None
        assert compare_log_ratios(logs, final=True).verdict == "unfit"
    assert compare_log_ratios([0.5] * 5).verdict == "different"
    assert compare_log_ratios([0.0] * 5).verdict == "same"


def test_the_detectable_effect_is_found_nine_times_in_ten():
    rng = np.random.default_rng(4)
    pairs = rng.normal(0, 0.05, (500, 40))
    effects = [compare_log_ratios(row).minimum_detectable_effect for row in pairs[:30]]
    shifted = pairs[30:] + math.log1p(float(np.median(effects)))
    found = np.mean(mean_error(shifted).p_value(shifted.mean(axis=1)) < 0.008)
    assert 0.83 < found < 0.97


@settings(deadline=None, max_examples=40)
@given(ratios)
def test_swapping_the_arms_mirrors_the_result(logs):
    one, other = compare_log_ratios(logs), compare_log_ratios([-x for x in logs])
    assert one.verdict == other.verdict
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)
    assert other.ratio.value == pytest.approx(1 / one.ratio.value)
    if one.ratio.low > 0 and one.ratio.high < 1e12:
        assert other.ratio.low == pytest.approx(1 / one.ratio.high, rel=1e-6)


def test_refuses_what_is_no_pair():
    for bad in ([], [math.nan, 0.1], [math.inf]):
        with pytest.raises(UsageError):
            compare_log_ratios(bad)
    with pytest.raises(UsageError):
        compare_log_ratios([0.1], margin=0.0)


def test_independent_runs():
    rng = np.random.default_rng(5)
    a, b = rng.normal(-4, 0.02, 40), rng.normal(-4, 0.02, 44)
    assert compare_independent(a, b).verdict == "same"
    slower = compare_independent(a, b + math.log(1.1))
    assert slower.verdict == "different"
    assert slower.ratio.low < 1.1 < slower.ratio.high
    assert slower.p_value < 1e-4
    noisy = compare_independent(rng.normal(0, 0.2, 12), rng.normal(0, 0.2, 12))
    assert (noisy.verdict, noisy.reason) == ("unfit", "undecided")
    assert compare_independent([0.1], [0.1, 0.2]).verdict == "unfit"


def test_independent_p_value_matches_the_interval_that_touches():
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 0.05, 20), rng.normal(0.06, 0.05, 20)
    p = compare_independent(a, b).p_value
    level = 1 - p
    half = math.hypot(*(float(mean_error(x[None]).half_width(level)[0]) for x in (a, b)))
    assert half == pytest.approx(abs(b.mean() - a.mean()), rel=1e-2)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.051, 1.2, "fail"), (1.05, 1.2, "undecided"), (0.9, 1.05, "pass"),
        (0.9, 1.0501, "undecided"), (0.0, math.inf, "undecided"),
    ],
)  # fmt: skip
def test_gate(low, high, outcome):
    middle = low if math.isinf(high) else (low + high) / 2
    assert gate(Estimate(middle, low, high), 0.05) == outcome


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    with pytest.raises(UsageError):
        holm([0.5, 1.5])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_the_raw_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for raw, value in zip(p_values, adjusted, strict=True):
        assert raw <= value <= 1.0
        assert value <= min(1.0, len(p_values) * max(p_values))
    order = np.argsort(p_values, kind="stable")
    assert list(np.asarray(adjusted)[order]) == sorted(adjusted)


def test_holm_keeps_the_family_error_rate():
    p = np.random.default_rng(7).uniform(size=(2000, 8))
    assert np.mean([min(holm(list(row))) < 0.05 for row in p]) < 0.065
