"""The simulated devices themselves: their truth and their oracle are what they claim."""

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.profiler.statistics.simulate import (
    CLASSES,
    PAIR_NOISES,
    STRESSES,
    pair_noise,
    sessions,
)


@pytest.mark.parametrize("kind", [*CLASSES, *STRESSES])
def test_noise_has_mean_zero_about_the_truth(kind):
    drawn = sessions(kind, 3000, 16, np.random.default_rng(1))
    error = np.where(drawn.flagged, 0.0, drawn.log_medians - drawn.expected)
    assert abs(error.mean()) < 4 * error.mean(axis=1).std() / np.sqrt(3000)


@pytest.mark.parametrize("kind", [*CLASSES, *STRESSES])
def test_the_covariance_is_the_one_the_oracle_knows(kind):
    drawn = sessions(kind, 6000, 8, np.random.default_rng(2))
    error = drawn.log_medians - drawn.expected
    lagged = (error[:, :-1] * error[:, 1:]).mean()
    variance = float(np.mean(drawn.linked_variance + drawn.own_variance))
    assert (error**2).mean() == pytest.approx(variance, rel=0.08)
    expected = float(np.mean(drawn.linked_variance * drawn.correlation))
    assert lagged == pytest.approx(expected, abs=0.03 * variance)


@pytest.mark.parametrize("kind", ["autocorrelated", "autocorrelated_and_independent", "throttling"])
def test_the_oracle_is_generalised_least_squares(kind):
    drawn = sessions(kind, 5, 20, np.random.default_rng(3))
    half = drawn.oracle_half_width()
    for row in range(5):
        kept = np.flatnonzero(~drawn.flagged[row])
        distance = np.abs(np.subtract.outer(kept, kept))
        linked = drawn.linked_variance[row] * np.where(
            distance == 0, 1.0, drawn.correlation[row] ** distance
        )
        information = np.linalg.inv(linked + drawn.own_variance[row] * np.eye(len(kept))).sum()
        assert half[row] == pytest.approx(1.959964 / np.sqrt(information))


def test_the_oracle_covers_95_percent():
    drawn = sessions("autocorrelated", 4000, 200, np.random.default_rng(4))
    # At 200 blocks the plain mean is as good as the best linear estimate.
    covered = np.abs(drawn.log_medians.mean(axis=1) - drawn.truth()) <= drawn.oracle_half_width()
    assert 0.935 < covered.mean() < 0.965


def test_drift_is_part_of_the_truth_and_throttled_blocks_are_not():
    rng = np.random.default_rng(5)
    drifting = sessions("drifting", 50, 30, rng)
    assert np.std(drifting.truth()) > 0.02
    throttled = sessions("throttling", 200, 60, rng)
    assert 0.1 < throttled.flagged.mean() < 0.3
    assert np.all(np.abs(throttled.truth() - np.log(0.02)) < 0.061)
    slow = throttled.expected > np.log(0.02) + 0.15
    assert np.all(throttled.flagged[slow])


def test_taken_ends_each_session_at_its_nth_unflagged_block():
    drawn = sessions("throttling", 100, 60, np.random.default_rng(6))
    drawn = drawn.rows(np.flatnonzero(drawn.unflagged() >= 20))
    ended = drawn.taken(20)
    assert np.all(ended.unflagged() == 20)
    values = drawn.values(20)
    assert values[0] == pytest.approx(drawn.log_medians[0][~drawn.flagged[0]][:20])
    assert np.all(ended.values(20) == values)
    with pytest.raises(UsageError):
        drawn.values(61)


def test_everything_flagged_has_no_truth():
    drawn = sessions("independent", 2, 5, np.random.default_rng(7)).taken(0)
    assert np.all(np.isnan(drawn.truth()))
    assert np.all(np.isnan(drawn.oracle_half_width()))


@pytest.mark.parametrize("kind", PAIR_NOISES)
def test_pair_noise_has_the_spread_asked_for(kind):
    noise = pair_noise(kind, 3000, 40, np.random.default_rng(8), 0.05)
    assert abs(noise.mean()) < 0.001
    assert noise.std() == pytest.approx(0.05, rel=0.1)


def test_unknown_kinds_are_named():
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="bimodal"):
        sessions("nope", 1, 2, rng)
    with pytest.raises(UsageError, match="bimodal"):
        pair_noise("nope", 1, 2, rng, 0.1)
