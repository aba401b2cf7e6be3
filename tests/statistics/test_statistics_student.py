"""Student's t against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lwprof.errors import UsageError
from lwprof.profiler.statistics.student import (
    student_t_cdf,
    student_t_density,
    student_t_quantile,
    student_t_two_sided,
)

DEGREES = (1, 1.5, 2, 3, 4, 7, 10, 21.3, 58, 200, 5000)


@pytest.mark.parametrize("df", DEGREES)
def test_distribution_agrees_with_scipy(df):
    x = np.concatenate([[0.0, 1e-3], np.logspace(-2, 3, 120)])
    assert student_t_two_sided(x, df) == pytest.approx(
        stats.t.cdf(x, df) - stats.t.cdf(-x, df), abs=1e-11
    )
    # Relative, so that the far tail counts too.
    assert student_t_cdf(-x, df) == pytest.approx(stats.t.cdf(-x, df), rel=1e-8)
    assert student_t_density(x, df) == pytest.approx(stats.t.pdf(x, df), rel=1e-9)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("p", [1e-6, 0.004, 0.025, 0.3, 0.5, 0.501, 0.9, 0.975, 0.9999])
def test_quantile_agrees_with_scipy(p, df):
    assert student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-7, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.001, 0.999), st.floats(0.5, 500))
def test_quantile_inverts_the_distribution(p, df):
    assert float(student_t_cdf(student_t_quantile(p, df), df)) == pytest.approx(p, abs=1e-9)


def test_infinite_argument_is_certain():
    assert float(student_t_two_sided(np.inf, 3)) == 1.0
    assert float(student_t_cdf(-np.inf, 3)) == 0.0


def test_refuses_nonsense():
    with pytest.raises(UsageError):
        student_t_quantile(1.0, 5)
    with pytest.raises(UsageError):
        student_t_quantile(0.9, 0)
    with pytest.raises(UsageError):
        student_t_cdf(np.nan, 5)
    with pytest.raises(UsageError):
        student_t_cdf(1.0, 0)
    with pytest.raises(UsageError):
        student_t_two_sided(-1.0, 5)
