"""The policy before a block: it waits, begins, or refuses; and scripted timelines are flagged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lwprof.errors import DeviceError
from lwprof.profiler.session.guard import Guard
from lwprof.profiler.statistics import block_flags

COOL = {"thermal": [{"type": "cpu", "temp_c": 60.0}], "cooling": {"c0:thermal-cpufreq-0": 0}}
HOT = {"thermal": [{"type": "cpu", "temp_c": 79.0}]}


class Clock:
    """Time that passes only by sleeping, and states that follow it."""

    def __init__(self, *states: tuple[float, Mapping[str, Any]]) -> None:
        self.now, self.states = 0.0, states

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self) -> Mapping[str, Any]:
        return [state for start, state in self.states if start <= self.now][-1]

    def run(self, guard: Guard) -> float:
        return guard.before(self.look, sleep=self.sleep, clock=lambda: self.now)


def test_it_waits_until_cool() -> None:
    clock = Clock((0.0, HOT), (30.0, COOL))
    waited = clock.run(Guard(limit_c=80.0))
    assert 30.0 <= waited <= 40.0


def test_it_waits_no_longer_than_it_may() -> None:
    assert Clock((0.0, HOT)).run(Guard(limit_c=80.0, most_wait_s=20.0)) == pytest.approx(20.0)


def test_flagging_begins_at_once_and_refusing_ends() -> None:
    assert Clock((0.0, HOT)).run(Guard("flag", limit_c=80.0)) == 0.0
    with pytest.raises(DeviceError, match="79 °C"):
        Clock((0.0, HOT)).run(Guard("refuse", limit_c=80.0))
    with pytest.raises(DeviceError, match="under-voltage"):
        Clock((0.0, {"throttled_bits": 0x50005})).run(Guard("refuse"))
    # Bits since the boot are history.
    assert Clock((0.0, {"throttled_bits": 0x50000})).run(Guard("refuse")) == 0.0


def test_what_slows_the_processor_is_named_and_a_fan_is_not() -> None:
    guard = Guard("refuse")
    with pytest.raises(DeviceError, match="thermal-cpufreq-0 slows"):
        Clock((0.0, {"cooling": {"cooling_device0:thermal-cpufreq-0": 1}})).run(guard)
    assert Clock((0.0, {"cooling": {"cooling_device1:pwm-fan": 4}})).run(guard) == 0.0


def test_an_empty_battery_is_refused_whatever_the_policy() -> None:
    low = {"battery": {"status": "Discharging", "capacity_percent": 5}}
    with pytest.raises(DeviceError, match="charge it"):
        Clock((0.0, low)).run(Guard("flag"))
    fine = {"battery": {"status": "Charging", "capacity_percent": 5}}
    assert Clock((0.0, fine)).run(Guard("flag")) == 0.0


KINDS = ("cooling", "limit", "frequency", "alarm", "bits")
LOOK_S = 0.1


def scripted(rng: np.random.Generator, kind: str) -> tuple[int, int, int, int]:
    """One timeline of 200 blocks: touched, touched and flagged, untouched, of these flagged.

    Episodes last 0.15 to 60 s. The board is looked at ten times a second within windows, at
    their start and at their end, as the agent does.
    """
    episodes = []
    now = 0.0
    while now < 400.0:
        now += float(rng.exponential(20.0))
        length = float(np.exp(rng.uniform(np.log(0.15), np.log(60.0))))
        episodes.append((now, now + length))
        now += length
    blocks = []
    start = 0.0
    for _ in range(200):
        start += float(rng.uniform(0.3, 1.5))
        end = start + float(rng.uniform(0.2, 2.0))
        looks = np.append(np.arange(start, end, LOOK_S), end)
        inside = [any(a <= t < b for a, b in episodes) for t in looks]
        touched = any(min(end, b) - max(start, a) > 0 for a, b in episodes)
        blocks.append((touched, record(kind, any(inside), all(inside))))
        start = end
    # As the runner does: against the best of the session, earlier blocks flagged again.
    best = {
        name: max(found["delta"]["seen"].get(name, 0.0) for _, found in blocks)
        for name in ("high_limit_hz", "high_freq_hz")
    }
    counts = [0, 0, 0, 0]
    for touched, found in blocks:
        counts[0 if touched else 2] += 1
        counts[1 if touched else 3] += bool(block_flags(found, {}, best))
    return counts[0], counts[1], counts[2], counts[3]


def record(kind: str, some: bool, every: bool) -> dict[str, Any]:
    """What the agent returns of a block in which some, or all, looks fell into an episode."""
    full = 1_500_000_000
    low = 600_000_000 if some else full
    high = 600_000_000 if every else full
    seen: dict[str, Any] = {"looks": 5, "max_temp_c": 61.0, "max_cooling": 0,
                            "under_voltage": False, "throttled_bits": 0}  # fmt: skip
    state = {"governors": {"cpu0": "performance"}, "frequencies_hz": {"cpu0": high}}
    if kind == "frequency":
        seen |= {"low_freq_hz": low, "high_freq_hz": high, "high_limit_hz": full,
                 "low_limit_hz": full}  # fmt: skip
    elif kind == "limit":
        seen |= {"low_limit_hz": low, "high_limit_hz": high}
    elif kind == "cooling":
        seen["max_cooling"] = int(some)
    elif kind == "alarm":
        seen["under_voltage"] = some
    else:
        seen["throttled_bits"] = 0b0101 * some
    return {"before": state, "after": state, "delta": {"seen": seen}}


@pytest.mark.parametrize("kind", KINDS)
def test_scripted_timelines_are_flagged(kind: str) -> None:
    rng = np.random.default_rng(5)
    totals = np.sum([scripted(rng, kind) for _ in range(10)], axis=0)
    touched, flagged, untouched, false = (int(n) for n in totals)
    assert touched > 300 and untouched > 300
    assert flagged >= 0.99 * touched
    assert false <= 0.01 * untouched
