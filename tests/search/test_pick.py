"""Picks under a limit: never a broken one, and what a known best would have been."""

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors import TableRegressor
from lwprof.search import pick, space


class Planted:
    """Predicts a planted truth with errors that flatter the best candidates."""

    def __init__(self, truth: np.ndarray, error: np.ndarray) -> None:
        self.answer = truth * np.exp(error)

    def predict(self, xs: np.ndarray) -> np.ndarray:
        return self.answer[xs[:, 0]]

    def predict_interval(self, xs: np.ndarray, level: float = 0.95) -> tuple:
        width = 1.3 if level < 0.85 else 1.7
        return self.predict(xs) / width, self.predict(xs) * width


@pytest.fixture
def planted() -> tuple:
    rng = np.random.default_rng(3)
    truth = np.exp(rng.normal(-3.5, 0.5, 400))
    merit = np.log(truth) + rng.normal(0, 0.2, 400)
    return truth, merit, np.arange(400)[:, None], Planted(truth, rng.normal(0, 0.25, 400))


def test_a_verified_pick_meets_the_limit(planted: tuple) -> None:
    truth, merit, codes, model = planted
    known = {i: truth[i] for i in np.argsort(truth)[:3].tolist()}
    for limit in np.quantile(truth, [0.1, 0.3, 0.5, 0.8]):
        found = pick(merit, codes, model, limit=limit, measure=lambda i: truth[i], known=known)
        assert found.index is not None and found.verified
        assert truth[found.index] <= limit and found.value == truth[found.index]
        assert found.verifications == len(found.measured) <= 3


def test_more_verifications_are_not_worse(planted: tuple) -> None:
    truth, merit, codes, model = planted
    limit = float(np.median(truth))
    best = merit[truth <= limit].max()
    regret = {
        n: best - merit[pick(merit, codes, model, limit=limit, measure=truth.__getitem__,
                             verifications=n, known={int(truth.argmin()): truth.min()}).index]
        for n in (1, 20)
    }  # fmt: skip
    assert 0 <= regret[20] <= regret[1]


def test_measurements_refine_a_real_regressor() -> None:
    cells = space("nasbench201")
    codes = np.unique(cells.sample(300, np.random.default_rng(0)), axis=0)
    codes = codes[cells.connected(codes)]
    truth = (5 + cells.counts(codes, "bwd").values[:, 8]) * 1e-3
    model = TableRegressor(cells).fit(codes[:12], truth[:12])
    before = model.predict(codes).copy()
    limit = float(np.median(truth))
    found = pick(truth, codes, model, limit=limit, measure=lambda i: truth[i])
    assert found.index is not None and truth[found.index] <= limit
    assert (model.predict(codes) == before).all()  # the caller's regressor is not changed


def test_without_measuring_the_upper_end_decides(planted: tuple) -> None:
    _truth, merit, codes, model = planted
    found = pick(merit, codes, model, limit=0.03)
    assert not found.verified and model.answer[found.index] * 1.7 <= 0.03
    assert pick(merit, codes, model, limit=1e-9).index is None


def test_nothing_is_better_than_a_broken_limit(planted: tuple) -> None:
    truth, merit, codes, model = planted
    found = pick(merit, codes, model, limit=1e-6, measure=lambda i: truth[i])
    assert found.index is None and np.isnan(found.value)


def test_bad_arguments_are_named(planted: tuple) -> None:
    _truth, merit, codes, model = planted
    with pytest.raises(UsageError, match="400 candidates need as many merits"):
        pick(merit[:5], codes, model, limit=1.0)
    with pytest.raises(UsageError, match="limit must be a positive number"):
        pick(merit, codes, model, limit=-1.0)
    with pytest.raises(UsageError, match="not a positive number"):
        pick(merit, codes, model, limit=0.03, measure=lambda i: float("nan"))
