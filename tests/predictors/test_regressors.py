"""Regressors over a space: planted devices, coverage, bad input."""

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors import TableRegressor, TransferRegressor
from lwprof.predictors.conformal import conformal_quantile
from lwprof.predictors.space import Codes
from lwprof.search import space

CELLS = space("nasbench201")


def device(codes: Codes, seed: int, rewrite: str, noise: float = 0.0) -> np.ndarray:
    """Seconds on a device that prices skip, conv1x1, conv3x3, pool, additions and MACs."""
    rng = np.random.default_rng(seed)
    price = rng.uniform(0.5, 1.5, 9) * [0.05, 0.3, 0.6, 0.4, 0.1, 0.1, 0.02, 0.05, 0.1]
    cost = 2 + CELLS.counts(codes, rewrite).values @ price
    return 1e-3 * cost * np.exp(noise * rng.standard_normal(len(codes)))


def cells(n: int, seed: int = 0) -> Codes:
    codes = np.unique(CELLS.sample(3 * n, np.random.default_rng(seed)), axis=0)
    codes = codes[CELLS.connected(codes)]
    return np.random.default_rng(seed).permutation(codes)[:n]


def test_dead_code_is_learnt_from_samples() -> None:
    codes, test = cells(120), cells(400, 1)
    for rewrite in CELLS.rewrites:
        model = TableRegressor(CELLS).fit(codes, device(codes, 5, rewrite))
        error = np.abs(model.predict(test) / device(test, 5, rewrite) - 1)
        assert np.median(error) < 0.01


def test_outliers_do_not_move_the_fit() -> None:
    codes, test = cells(120), cells(400, 1)
    y = device(codes, 5, "bwd", 0.02)
    y[::10] *= 1.8  # a thermal spell
    model = TableRegressor(CELLS).fit(codes, y)
    assert np.median(np.abs(model.predict(test) / device(test, 5, "bwd") - 1)) < 0.03


def test_transfer_knows_what_ten_samples_cannot_say() -> None:
    codes, test = cells(300), cells(400, 1)
    sources = {f"d{s}": (codes, device(codes, s, "bwd" if s % 2 else "none", 0.02))
               for s in range(5)}  # fmt: skip
    errors = []
    for seed, target in ((2, 13), (12, 11), (22, 11)):  # one draw may be lucky without sources
        few = cells(10, seed)
        y, truth = device(few, target, "bwd", 0.02), device(test, target, "bwd")
        model = TransferRegressor(CELLS, sources).fit(few, y)
        alone = TableRegressor(CELLS).fit(few, y)
        errors.append([np.median(np.abs(m.predict(test) / truth - 1)) for m in (model, alone)])
    transferred, alone_error = np.mean(errors, axis=0)
    assert max(e[0] for e in errors) < 0.05
    assert transferred < alone_error
    assert model.weights_.keys() == {"closest", "components", "physics", "process", "hierarchy"}
    chosen = model.choose(8, test)
    assert len(set(chosen.tolist())) == 8


def test_intervals_hold_what_they_promise() -> None:
    test, inside = cells(500, 1), []
    for seed in range(12):
        codes = cells(20, seed + 10)
        model = TableRegressor(CELLS, seed).fit(codes, device(codes, seed, "none", 0.08))
        low, high = model.predict_interval(test, 0.9)
        inside.append((low <= (y := device(test, seed, "none", 0.08))) & (y <= high))
    assert 0.84 < np.mean(inside) < 0.97


@pytest.mark.parametrize("n", [10, 15, 40])
def test_conformal_quantile_covers_at_its_level(n: int) -> None:
    rng = np.random.default_rng(0)
    covered = [abs(rng.standard_normal()) <= conformal_quantile(rng.standard_normal(n), 0.9)
               for _ in range(4000)]  # fmt: skip
    assert 0.87 < np.mean(covered) < 0.93


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c, y: (c[:3], y[:3]), "3 samples are too few: measure at least 5"),
        (lambda c, y: (np.repeat(c, 2, 0), np.repeat(y, 2)), "is given 2 times"),
        (lambda c, y: (c, -y), "no positive finite number"),
        (lambda c, y: (c, np.where(np.arange(len(y)) == 4, np.nan, y)), "cost nan .number 4"),
        (lambda c, y: (c, y[:-1]), "20 architectures need 20 costs"),
        (lambda c, y: (c + 5, y), "which has choices 0 to 4"),
        (lambda c, y: (c * 0 + np.arange(20)[:, None] % 5 * [1, 0, 0, 0, 0, 0], y), "is given"),
    ],
)  # fmt: skip
def test_bad_samples_are_named(spoil: object, message: str) -> None:
    codes = cells(20)
    with pytest.raises(UsageError, match=message):
        TableRegressor(CELLS).fit(*spoil(codes, device(codes, 0, "none")))  # type: ignore[operator]


def test_a_bad_source_is_named() -> None:
    codes = cells(20)
    y = device(codes, 0, "none")
    with pytest.raises(UsageError, match="source 'old': 5 samples are too few"):
        TransferRegressor(CELLS, {"old": (codes[:5], y[:5])}).fit(codes, y)
    with pytest.raises(UsageError, match="without any, use TableRegressor"):
        TransferRegressor(CELLS, {}).fit(codes, y)
    with pytest.raises(UsageError, match="not fitted"):
        TableRegressor(CELLS).predict(codes)


def test_parameters_follow_scikit_learn() -> None:
    model = TableRegressor(CELLS, random_state=3)
    assert model.get_params() == {"space": CELLS, "random_state": 3}
    assert model.set_params(random_state=4).random_state == 4
