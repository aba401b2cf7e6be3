"""A step test finds the planted lag and averaging of synthetic sensors."""

from __future__ import annotations

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.profiler.statistics import rails
from lwprof.profiler.statistics.calibrating import Response, response
from lwprof.profiler.statistics.power import Trace, trace


def stepped(sensor: rails.Sensor, steps: int = 8, watts: float = 5.0) -> tuple[Trace, rails.Block]:
    rng = np.random.default_rng(3)
    load = rails.Load(0.001, ((1.0, watts),), process=0.0)
    # Lengths that are no multiples of the sensor's period.
    block = rails.block(rng, sensor, 2.0, [("x", load)] * steps, 0.233, 0.217)
    return trace(sensor.rail(), block.t_ns, block.values, block.windows), block


def answer(sensor: rails.Sensor, **more: float) -> Response:
    found, block = stepped(sensor, **more)  # type: ignore[arg-type]
    return response(found, block.windows)


@pytest.mark.parametrize("lag", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("averaging", [0.0, 0.005, 0.01])
def test_the_planted_lag_and_averaging_are_found(lag: float, averaging: float) -> None:
    sensor = rails.Sensor(0.01, averaging, lag, noise_w=0.02, on_demand=True)
    found = answer(sensor)
    assert found.lag_s == pytest.approx(lag, abs=0.0015)
    assert found.averaging_s == pytest.approx(averaging, abs=0.003)
    assert found.period_s == pytest.approx(0.01, rel=0.15)
    assert found.steps == 16 and found.contrast > 20


def test_a_value_that_is_held_is_late_by_half_a_period_more() -> None:
    """A free-running sensor's value is old by up to a period when it is read."""
    found = answer(rails.Sensor(0.01, 0.01, 0.005, noise_w=0.02))
    assert 0.004 <= found.lag_s <= 0.016


def test_too_few_steps_and_a_load_that_does_not_show_are_refused() -> None:
    with pytest.raises(UsageError, match="needs 3 windows"):
        answer(rails.Sensor(0.01, 0.01, noise_w=0.01), steps=2)
    with pytest.raises(UsageError, match="hardly shows"):
        answer(rails.Sensor(0.01, 0.01, noise_w=0.5), watts=0.05)
