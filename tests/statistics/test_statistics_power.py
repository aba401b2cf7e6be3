"""Readings become joules exactly, or are refused: never wrong without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof.profiler.statistics.energy import check_alike, visits
from lwprof.profiler.statistics.power import ENERGY, Rail, SensorRefused, Window, trace, unwrapped

N = 300
STEP_NS = 10_000_000
TIMES = [i * STEP_NS for i in range(N)]
WINDOWS = (Window(0.0, 0.75), Window(0.75, 2.25, 10, "x"), Window(2.25, 2.99))
POWER = Rail("VDD_IN", period_s=0.01, averaging_s=0.01, lag_s=0.0, resolution=0.001, high=50.0)
WRAP = 1_000_000
COUNTER = Rail("package-0", ENERGY, period_s=0.01, averaging_s=0.01, lag_s=0.0,
               resolution=1e-6, wrap=WRAP, high=2000.0)  # fmt: skip


def watts() -> np.ndarray:
    """2 W idle, 7 W at work, with a little noise."""
    level = np.where((np.arange(N) > 75) & (np.arange(N) <= 225), 7.0, 2.0)
    return level * (1 + 0.02 * np.sin(np.arange(N)))


def micro(values: np.ndarray) -> list[int | None]:
    return [int(v) for v in np.round(values * 1e6)]


def counts(values: np.ndarray, start: int = 0, wrap: int = WRAP) -> list[int | None]:
    energy = np.concatenate([[0], np.cumsum(np.round(values[1:] * 1e6 * 0.01))])
    return [int(v) for v in (start + energy) % wrap]


def read(rail: Rail, values: Sequence[int | None], **more: Any) -> float:
    found = trace(rail, TIMES, values, WINDOWS, **more)
    return visits(found, WINDOWS)[0].energy_j


def test_power_is_integrated_by_trapezoids() -> None:
    values = watts()
    found = trace(POWER, TIMES, micro(values), WINDOWS)
    assert found.energy_j[-1] == pytest.approx(np.trapezoid(values, dx=0.01), rel=1e-6)
    assert found.between(0.5, 0.6) == pytest.approx(0.1 * values[50:61].mean(), rel=0.02)


@given(start=st.integers(0, WRAP - 1), scale=st.floats(0.5, 3.0))
@settings(max_examples=50, deadline=None)
def test_wraps_of_known_range_are_undone_exactly(start: int, scale: float) -> None:
    values = watts() * scale
    truth = np.sum(np.round(values[1:] * 1e6 * 0.01)) * 1e-6
    found = trace(COUNTER, TIMES, counts(values, start), WINDOWS)
    assert found.energy_j[-1] == pytest.approx(truth, rel=1e-12)


def test_a_backward_step_without_a_known_range_is_refused() -> None:
    rail = Rail("package-0", ENERGY, period_s=0.01, averaging_s=0.01, lag_s=0.0, high=2000.0)
    with pytest.raises(SensorRefused, match="range is unknown"):
        read(rail, counts(watts(), WRAP - 1000))


@given(at=st.integers(10, N - 10), to=st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_a_reset_is_no_wrap(at: int, to: int) -> None:
    rail = Rail("r", ENERGY, period_s=0.01, averaging_s=0.01, lag_s=0.0, resolution=1e-6,
                wrap=262_143_328_850, high=2000.0)  # fmt: skip
    plain = [int(v or 0) for v in counts(watts(), 5_000_000_000, 262_143_328_850)]
    reset = plain[:at] + [value - plain[at] + to for value in plain[at:]]
    with pytest.raises(SensorRefused, match="reset"):
        trace(rail, TIMES, reset, WINDOWS)


def test_a_range_so_small_that_wraps_could_hide_is_refused() -> None:
    rail = Rail("r", ENERGY, period_s=0.01, averaging_s=0.01, lag_s=0.0, wrap=60_000, high=2000.0)
    with pytest.raises(SensorRefused, match="backwards"):
        trace(rail, TIMES, counts(watts(), 0, 60_000), WINDOWS)


def test_a_counter_beyond_its_stated_range_is_refused() -> None:
    values = counts(watts(), 5 * WRAP, 10 * WRAP)
    with pytest.raises(SensorRefused, match="range that it states"):
        trace(COUNTER, TIMES, values, WINDOWS)


FAULTS: dict[str, tuple[Any, str]] = {
    "a thousand times more from the middle on":
        (lambda v: [*v[:150], *(x * 1000 for x in v[150:])], "carry|unit"),
    "a thousandth from the middle on": (lambda v: [*v[:150], *(x // 1000 for x in v[150:])], "unit"),
    "a thousandth for a few readings":
        (lambda v: [*v[:150], *(x // 1000 for x in v[150:154]), *v[154:]], "unit"),
    "a thousandth while idle": (lambda v: [*(x // 1000 for x in v[:75]), *v[75:]], "unit|idled"),
    "negative from the middle on": (lambda v: [*v[:150], *(-x for x in v[150:])], "negative"),
    "all a thousandth": (lambda v: [x // 1000 for x in v], "draws so little"),
    "stuck": (lambda v: [v[0]] * N, "never moved"),
    "all zero": (lambda v: [0] * N, "never moved"),
    "half lost": (lambda v: [x if i % 2 else None for i, x in enumerate(v)], "failed"),
    "lost at the window's edge": (lambda v: [*v[:60], *([None] * 50), *v[110:]], "no reading for"),
    "less at work than idle": (lambda v: [9_000_000 - x for x in v], "less power at work"),
    "all lost": (lambda v: [None] * N, "too few"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_readings_are_refused(fault: str) -> None:
    change, reason = FAULTS[fault]
    good = micro(watts())
    assert read(POWER, good) == pytest.approx(0.15 * 7.0, rel=0.02)
    with pytest.raises(SensorRefused, match=reason):
        read(POWER, change(good))


def test_a_few_lost_readings_do_not_matter() -> None:
    values = micro(watts())
    for index in (20, 21, 140, 200, 260):
        values[index] = None
    assert read(POWER, values) == pytest.approx(0.15 * 7.0, rel=0.02)


def test_a_change_of_the_sensor_refuses_everything() -> None:
    with pytest.raises(SensorRefused, match="VDD_SOC"):
        read(POWER, micro(watts()), changed="in1_label says 'VDD_SOC'")


BATTERY = Rail("battery", low=-100.0, high=100.0, period_s=0.01, averaging_s=0.01, lag_s=0.0)
OFF = ({"status": "Discharging"}, {"status": "Discharging"})


def test_a_battery_counts_whatever_sign_its_maker_chose() -> None:
    values = micro(watts())
    flipped = [-v for v in values if v is not None]
    assert read(BATTERY, values, states=OFF) == read(BATTERY, flipped, states=OFF)


@pytest.mark.parametrize(
    "states, reason",
    [
        (({"status": "Discharging"}, {"status": "Charging"}), "is charging"),
        (({"status": "Full"}, {"status": "Full"}), "is full"),
        ((), "does not say"),
        (({}, {"status": "Discharging"}), "does not say"),
    ],
)
def test_a_battery_that_charges_is_refused(states: Any, reason: str) -> None:
    with pytest.raises(SensorRefused, match=reason):
        read(BATTERY, micro(watts()), states=states)


def test_a_battery_that_turns_its_sign_is_refused() -> None:
    values = [v if i < 150 else -(v or 0) for i, v in enumerate(micro(watts()))]
    with pytest.raises(SensorRefused, match="changed its sign"):
        read(BATTERY, values, states=OFF)


def test_blocks_of_another_unit_are_refused() -> None:
    found = visits(trace(POWER, TIMES, micro(watts()), WINDOWS), WINDOWS)
    small = visits(
        trace(Rail("VDD_IN", role="part", period_s=0.01, averaging_s=0.01, lag_s=0.0),
              TIMES, micro(watts() / 1000), WINDOWS), WINDOWS
    )  # fmt: skip
    check_alike(found * 5)
    with pytest.raises(SensorRefused, match="in one block"):
        check_alike(found * 5 + small)


def test_unwrapped_needs_no_wrap() -> None:
    found = unwrapped(COUNTER, np.array([0.0, 1.0, 2.0]), np.array([10.0, 12.0, 20.0]))
    assert found.tolist() == pytest.approx([0.0, 2e-6, 10e-6])
