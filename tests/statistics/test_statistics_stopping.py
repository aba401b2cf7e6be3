"""The stop rule: where it looks, when it stops, and that stopping does not break the interval."""

import math

import numpy as np
import pytest
from scipy import stats

from lwprof.errors import UsageError
from lwprof.profiler.statistics import StopRule
from lwprof.profiler.statistics.intervals import sequential_level
from lwprof.profiler.statistics.serial import mean_half_width
from lwprof.profiler.statistics.simulate import sessions


def test_looks_are_spaced_by_the_factor():
    rule = StopRule()
    looks = [n for n in range(300) if rule.is_look(n)]
    assert looks == [12, 17, 23, 32, 44, 60, 81, 110, 149, 202, 273]
    assert [rule.next_look(n) for n in (0, 11, 12, 16, 17, 202)] == [12, 12, 17, 17, 23, 273]


def test_between_looks_nothing_is_decided_anew():
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.05, 60)
    rule = StopRule(rel_ci=0.025)
    decisions = [rule.decide(logs[:n]) for n in range(61)]
    for n in range(1, 61):
        if not rule.is_look(n):
            assert decisions[n] == decisions[n - 1]
    assert decisions[11] == "continue"
    assert decisions[60] == "stop"


def test_stops_at_most_blocks():
    logs = np.random.default_rng(2).normal(0, 1, 40)
    assert StopRule(rel_ci=0.01, max_blocks=40).decide(logs) == "stop"
    assert StopRule(rel_ci=0.01).decide(logs) == "continue"


def test_blocks_needed_grow_with_the_square_of_the_precision():
    logs = np.random.default_rng(3).normal(0, 0.05, 32)
    coarse, fine = (StopRule(rel_ci=r).blocks_needed(logs) for r in (0.02, 0.005))
    assert 8 < fine / coarse < 32
    assert StopRule().blocks_needed(logs[:2]) == 12
    assert StopRule(rel_ci=1e-6).blocks_needed(logs) == 100_000
    assert StopRule(rel_ci=1e-6, max_blocks=50).blocks_needed(logs) == 50
    # What is already measured is never less than what is needed.
    assert StopRule(rel_ci=0.5).blocks_needed(logs) == 32


@pytest.mark.parametrize("kind", ["independent", "autocorrelated", "drifting"])
def test_the_interval_covers_after_stopping(kind):
    """300 sessions, vectorised; the rule's own decisions are checked on the first ten."""
    rule = StopRule(rel_ci=0.03, max_blocks=60)
    drawn = sessions(kind, 300, 60, np.random.default_rng(4))
    hits, ended = np.zeros(300, dtype=bool), np.zeros(300, dtype=int)
    look = 0
    while (open_ := np.flatnonzero(ended == 0)).size:
        look = rule.next_look(look)
        values = drawn.rows(open_).values(look)
        half = mean_half_width(values, sequential_level(0.95))
        stops = (np.sinh(half) <= 0.03) | (look >= 60)
        truth = drawn.rows(open_).taken(look).truth()
        hits[open_] = np.abs(values.mean(axis=1) - truth) <= half
        ended[open_[stops]] = look
    assert len(set(ended)) > 2
    assert hits.sum() >= stats.binom.ppf(0.001, 300, 0.93)
    for logs, blocks in zip(drawn.log_medians[:10], ended[:10], strict=True):
        assert rule.decide(logs[:blocks]) == "stop"
        assert rule.decide(logs[: blocks - 1]) == "continue"


def test_refuses_rules_that_cannot_stop():
    for wrong in ({"rel_ci": 0.0}, {"rel_ci": math.nan}, {"factor": 1.0}, {"min_blocks": 1}):
        with pytest.raises(UsageError):
            StopRule(**wrong)
    with pytest.raises(UsageError):
        StopRule().decide([math.nan] * 12)
