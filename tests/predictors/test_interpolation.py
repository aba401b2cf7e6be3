"""Interpolation between measured kernels: right on lines, refused across steps."""

import pytest

from lwprof import workload
from lwprof.predictors.interpolation import Interpolator
from lwprof.predictors.kernel_features import facts
from lwprof.profiler.statistics import Estimate


def convolution(cin=64, cout=64, side=28, batch=1, kernel=3, groups=1, dtype="float32"):
    return workload(
        "Conv", inputs=[(batch, cin, side, side), (cout, cin // groups, kernel, kernel)],
        attributes={"pads": [kernel // 2] * 4, "group": groups}, dtype=dtype,
    )  # fmt: skip


def cost(work, spread=0.02):
    seconds = 1e-5 + facts(work).macs / 1e10
    return Estimate(seconds, seconds * (1 - spread), seconds * (1 + spread), blocks=8)


def table(*works):
    return Interpolator([(work, cost(work)) for work in works])


@pytest.mark.parametrize(
    ("low", "asked", "high"),
    [
        ({"cin": 32}, {"cin": 64}, {"cin": 96}),
        ({"cout": 64}, {"cout": 112}, {"cout": 128}),
        ({"side": 14}, {"side": 20}, {"side": 28}),
        ({"batch": 1}, {"batch": 2}, {"batch": 4}),
        ({"cin": 32, "cout": 32, "groups": 32}, {"cin": 64, "cout": 64, "groups": 64},
         {"cin": 96, "cout": 96, "groups": 96}),
    ],
)  # fmt: skip
def test_between_two_neighbours_a_cost_linear_in_macs_is_exact(low, asked, high):
    if asked == {"side": 20}:  # 4 × the work exactly is the farthest allowed
        assert facts(convolution(**high)).macs == 4 * facts(convolution(**low)).macs
    found = table(convolution(**low), convolution(**high)).estimate(convolution(**asked))
    assert found is not None and found.source == "interpolated"
    assert found.value == pytest.approx(cost(convolution(**asked)).value, rel=1e-9)
    assert found.high - found.low > cost(convolution(**asked)).high - cost(convolution(**asked)).low


@pytest.mark.parametrize(
    ("low", "asked", "high", "why"),
    [
        ({"cin": 32}, {"cin": 128}, {"cin": 96}, "outside"),
        ({"cin": 32}, {"cin": 50}, {"cin": 96}, "vectors fill differently"),
        ({"cin": 32}, {"cin": 96}, {"cin": 160}, "five times the work"),
        ({"cin": 32}, {"cin": 64, "side": 20}, {"cin": 96}, "another thing differs"),
        ({"cin": 32}, {"cin": 64, "kernel": 5}, {"cin": 96}, "another kernel"),
        ({"cin": 32}, {"cin": 64, "dtype": "float16"}, {"cin": 96}, "another type"),
        ({"cin": 32, "cout": 32, "groups": 32}, {"cin": 64}, {"cin": 96, "cout": 96, "groups": 96},
         "depthwise and dense"),
        ({"side": 14}, {"cin": 64, "side": 20, "batch": 2}, {"side": 28}, "two things"),
    ],
)  # fmt: skip
def test_where_interpolation_would_guess_it_is_refused(low, asked, high, why):
    found = table(convolution(**low), convolution(**high)).estimate(convolution(**asked))
    assert found is None, why


def test_the_nearest_neighbours_answer():
    works = [convolution(cin=c) for c in (32, 64, 96, 128)]
    planted = [(w, cost(w)) for w in works]
    planted[0] = (works[0], Estimate(1.0, 0.9, 1.1))
    found = Interpolator(planted).estimate(convolution(cin=112))
    assert found is not None
    assert found.value == pytest.approx(cost(convolution(cin=112)).value), "96 and 128, not 32"
