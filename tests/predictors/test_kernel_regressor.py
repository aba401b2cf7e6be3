"""Kernel regressors: facts counted by hand, planted rooflines, files, foreign kernels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwprof.errors import CostMiss, StoreError, UsageError
from lwprof.predictors import KernelRegressor
from lwprof.predictors.kernel_features import facts
from lwprof.profiler.kernels import workload


def convolution(cin: int, cout: int, side: int, kernel: int = 3, group: int = 1) -> Any:
    return workload(
        ["Conv", "Relu"], inputs=[(1, cin, side, side), (cout, cin // group, kernel, kernel)],
        attributes=[{"pads": [kernel // 2] * 4, "group": group}, {}],
    )  # fmt: skip


def some(n: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    drawn = {w.key: w for w in (
        convolution(*(int(8 * c) for c in rng.integers(1, 17, 2)), int(rng.integers(7, 57)),
                    int(rng.choice([1, 3]))) for _ in range(n))}  # fmt: skip
    return list(drawn.values())


def roofline(workloads: list[Any]) -> np.ndarray:
    found = [facts(w) for w in workloads]
    return np.array([5e-6 + max(f.macs / 2e10, f.bytes_moved / 8e9) for f in found])


def test_facts_of_a_depthwise_convolution_by_hand() -> None:
    found = facts(convolution(32, 32, 14, 3, 32))
    assert found.kind == "Conv+Relu:depthwise"
    assert found.macs == 14 * 14 * 32 * 9
    assert found.bytes_moved == 4 * (2 * 32 * 14 * 14 + 32 * 9)


def test_matrix_product_macs() -> None:
    assert facts(workload("MatMul", inputs=[(4, 7, 64), (64, 10)])).macs == 4 * 7 * 64 * 10


def test_a_planted_roofline_is_found() -> None:
    train, test = some(160, 0), some(60, 1)
    model = KernelRegressor().fit(train, roofline(train))
    error = np.abs(model.predict(test) / roofline(test) - 1)
    assert np.median(error) < 0.05
    low, high = model.predict_interval(test, 0.9)
    assert np.mean((low <= roofline(test)) & (roofline(test) <= high)) > 0.75
    assert set(model.types_) == {"dense", "pointwise"}


def test_foreign_kernels_are_wide_or_refused() -> None:
    train = some(60, 0)
    huge = [convolution(2048, 2048, 224, 7)]
    model = KernelRegressor().fit(train, roofline(train))
    assert model.out_of_distribution(huge).all()
    assert model.out_of_distribution(train).mean() < 0.1
    wide, usual = (np.log(np.divide(*model.predict_interval(x)[::-1])) for x in (huge, train))
    assert wide.min() > 2 * np.median(usual)
    with pytest.raises(CostMiss, match="unlike every kernel"):
        model.set_params(unknown="refuse").predict(huge)


def test_files_answer_as_the_model_did(tmp_path: Path) -> None:
    train, test = some(40, 0), some(10, 1)
    model = KernelRegressor().fit(train, roofline(train))
    model.save(tmp_path / "k.json")
    again = KernelRegressor.load(tmp_path / "k.json")
    assert again.predict(test) == pytest.approx(model.predict(test))
    assert np.array(again.predict_interval(test)) == pytest.approx(
        np.array(model.predict_interval(test)), rel=1e-6
    )
    assert again.fingerprint_ == model.fingerprint_
    entry = json.loads((tmp_path / "k.json").read_text())
    (tmp_path / "k.json").write_text(json.dumps({**entry, "features": ["macs"]}))
    with pytest.raises(StoreError, match="fit it again"):
        KernelRegressor.load(tmp_path / "k.json")


def test_bad_samples_are_named() -> None:
    train = some(20, 0)
    y = roofline(train)
    with pytest.raises(UsageError, match="4 samples are too few: measure at least 8"):
        KernelRegressor().fit(train[:4], y[:4])
    with pytest.raises(UsageError, match="given twice"):
        KernelRegressor().fit([*train, train[0]], [*y, y[0]])
    with pytest.raises(UsageError, match="no positive finite number"):
        KernelRegressor().fit(train, -y)
    with pytest.raises(UsageError, match="pass latency_s"):
        KernelRegressor().fit(train, y, latency_s=y).predict(train)
