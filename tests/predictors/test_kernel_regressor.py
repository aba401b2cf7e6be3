"""Kernel regressors against a planted machine, and bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import lwprof
from lwprof.errors import CostMiss, StoreError, UsageError
from lwprof.predictors.kernel_features import NAMES, facts, matrix
from lwprof.predictors.kernel_regressor import KernelRegressor
from lwprof.profiler.kernels import Workload


def convolution(c_in: int, c_out: int, side: int, k: int, group: int = 1):  # type: ignore[no-untyped-def]
    return lwprof.workload(
        "Conv", inputs=[(1, c_in, side, side), (c_out, c_in // group, k, k)],
        attributes={"pads": [k // 2] * 4, "group": group},
    )  # fmt: skip


def planted_s(c_in: int, c_out: int, side: int, k: int, group: int = 1) -> float:
    """A machine of 20 GMAC/s and 8 GB/s that wastes what does not fill 16 channels."""
    places, filled = side * side, math.ceil(c_out / 16) * 16
    macs = places * filled * (c_in // group) * k * k
    moved = 4 * (places * (c_in + c_out) + c_out * (c_in // group) * k * k)
    return 3e-6 + macs / 20e9 + moved / 8e9


def sample(n: int, seed: int) -> tuple[list, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    seen, out, costs = set(), [], []
    while len(out) < n:
        shape = (int(rng.integers(8, 256)), int(rng.integers(8, 256)),
                 int(rng.choice([7, 14, 28, 56])), int(rng.choice([1, 3])))  # fmt: skip
        if shape in seen:
            continue
        seen.add(shape)
        out.append(convolution(*shape))
        costs.append(planted_s(*shape) * float(np.exp(rng.normal(0, 0.02))))
    return out, np.array(costs)


@pytest.fixture(scope="module")
def fitted() -> KernelRegressor:
    return KernelRegressor(random_state=0).fit(*sample(240, 0))


def test_counts_of_a_convolution_are_exact() -> None:
    counts = facts(convolution(64, 128, 56, 3))
    assert counts.macs == 56 * 56 * 128 * 64 * 9 and "dense" in counts.kind
    assert counts.weights == 128 * 64 * 9
    assert counts.bytes_moved == 4 * (128 * 64 * 9 + 64 * 56 * 56 + 128 * 56 * 56)
    depthwise = facts(convolution(32, 32, 28, 3, group=32))
    assert depthwise.macs == 28 * 28 * 32 * 9 and "depthwise" in depthwise.kind
    assert facts(lwprof.workload("MatMul", inputs=[(8, 32), (32, 16)])).macs == 8 * 32 * 16


def test_unseen_kernels_of_a_planted_machine_are_predicted(fitted) -> None:  # type: ignore[no-untyped-def]
    workloads, truth = sample(120, 1)
    error = np.abs(np.log(fitted.predict(workloads) / truth))
    assert np.median(error) < 0.05 and np.quantile(error, 0.9) < 0.15
    macs = np.array([facts(w).macs for w in workloads])
    naive = macs * np.exp(np.median(np.log(truth / macs)))
    assert np.median(np.abs(np.log(naive / truth))) > 2 * np.median(error)


def test_intervals_cover_kernels_that_the_fit_never_saw(fitted) -> None:  # type: ignore[no-untyped-def]
    workloads, truth = sample(200, 2)
    low, high = fitted.predict_interval(workloads, level=0.9)
    covered = float(np.mean((low <= truth) & (truth <= high)))
    assert 0.83 <= covered <= 0.97  # 200 draws: two standard errors around 90 %
    wide = fitted.predict_interval(workloads, level=0.99)
    assert (wide[0] <= low).all() and (wide[1] >= high).all()


def test_far_from_what_was_measured_it_says_so(fitted) -> None:  # type: ignore[no-untyped-def]
    inside, outside = convolution(64, 64, 28, 3), convolution(4096, 64, 112, 3)
    assert list(fitted.out_of_distribution([inside, outside])) == [False, True]
    low, high = fitted.predict_interval([inside, outside])
    assert np.log(high / low)[1] > 1.5 * np.log(high / low)[0]
    refusing = KernelRegressor(random_state=0, unknown="refuse").fit(*sample(100, 0))
    with pytest.raises(CostMiss):
        refusing.predict([inside, outside])


def test_saved_and_loaded_it_answers_alike(fitted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "latency_s.json"
    fitted.save(path)
    again = KernelRegressor.load(path)
    workloads, _ = sample(50, 3)
    assert np.array_equal(again.predict(workloads), fitted.predict(workloads))
    assert again.fingerprint_ == fitted.fingerprint_
    assert np.array_equal(again.predict_interval(workloads), fitted.predict_interval(workloads))


def test_equal_data_give_equal_models() -> None:
    workloads, costs = sample(60, 7)
    one = KernelRegressor(random_state=1).fit(workloads, costs)
    turned = KernelRegressor(random_state=1).fit(workloads[::-1], costs[::-1])
    assert one.fingerprint_ == turned.fingerprint_
    other = KernelRegressor(random_state=1).fit(workloads, costs * 1.01)
    assert other.fingerprint_ != one.fingerprint_
    again = KernelRegressor(random_state=1).fit(workloads, costs)
    assert np.array_equal(again.predict(workloads), one.predict(workloads))


@pytest.mark.parametrize(
    "change",
    [
        lambda w, y: (w[:5], y[:5]),
        lambda w, y: (w, np.r_[-1.0, y[1:]]),
        lambda w, y: (w, np.r_[np.nan, y[1:]]),
        lambda w, y: ([w[1], *w[1:]], y),
        lambda w, y: (w, y[1:]),
    ],
)
def test_bad_data_are_refused_in_one_line(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError) as caught:
        KernelRegressor().fit(*change(*sample(20, 9)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [
    lambda d: d.pop("models"), lambda d: d.update(schema="other/9"),
    lambda d: d.update(features=["x"]), lambda d: d.update(errors=3),
])  # fmt: skip
def test_a_damaged_file_is_refused(fitted, tmp_path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.json"
    fitted.save(path)
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(StoreError):
        KernelRegressor.load(path)


def test_an_unknown_shape_is_refused(fitted) -> None:  # type: ignore[no-untyped-def]
    description = convolution(8, 8, 7, 1).description
    description["inputs"][0]["shape"] = None
    with pytest.raises(UsageError, match="shapes"):
        fitted.predict([Workload.from_description(description)])


def test_features_have_names() -> None:
    assert matrix([facts(convolution(8, 8, 7, 1))]).shape == (1, len(NAMES))
