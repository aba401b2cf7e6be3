"""From a sensor's raw readings to energy over time: exact, or refused with the reason.

A sensor fails in ways that look like numbers: a counter wraps or is reset, a driver changes
its unit, a current changes its sign, a rail gets another's name. Nothing here repairs such
readings by guessing. What can be known exactly (a wrap of known range) is used, all else
raises ``SensorRefused``; a wrong joule never passes without a word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lwprof.errors import DeviceError, UsageError

Floats = npt.NDArray[np.float64]

POWER, ENERGY = "uW", "uJ"

MOST_MISSING = 0.2
"""Share of readings that may be missing before the rest is refused."""

MOST_RATIO = 30.0
"""Inside one window of equal work readings cannot differ by more than this factor."""

LEAST_TOTAL_W = 0.02
"""No board or phone at work draws less; a total below has another unit than it says."""

# A wrap is one only if the energy in between fits what was drawn around it.
_WRAP_RATIO = 4.0
_NEIGHBOURS = 12
_LEAST_MOVING = 40


class SensorRefused(DeviceError):
    """Readings from which no energy can be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Rail:
    """What is known of one rail and of the sensor that reads it.

    Attributes:
        label: the sensor's name of it.
        unit: ``uW`` or ``uJ``, of its raw values.
        role: ``total``, ``part`` or ``separate``.
        includes: what draws from it.
        period_s: how often the sensor has a new value.
        averaging_s: how long a value was averaged, None where nobody tells.
        lag_s: how late a value is, None where nobody tells.
        resolution: one step in watts (or joules of a counter), None where nobody tells.
        wrap: a counter's range in raw units, None where nobody tells.
        low, high: what power can be, in watts.
        gain_error: largest relative error of every value alike, None where nobody tells.
        on_demand: each reading starts its own conversion, so that no value is old.
    """

    label: str
    unit: str = POWER
    role: str = "total"
    includes: tuple[str, ...] = ()
    period_s: float = 0.01
    averaging_s: float | None = None
    lag_s: float | None = None
    resolution: float | None = None
    wrap: int | None = None
    low: float = 0.0
    high: float = 1e6
    gain_error: float | None = None
    on_demand: bool = False

    @classmethod
    def from_json(cls, sensor: Mapping[str, Any], label: str) -> Rail:
        """The rail ``label`` of a sensor as the agent describes it.

        Raises:
            UsageError: the sensor has no such rail.
        """
        for rail in sensor["rails"]:
            if rail["label"] == label:
                return cls(
                    label=label,
                    unit=rail["unit"],
                    role=rail["role"],
                    includes=tuple(rail["includes"]),
                    period_s=float(sensor["period_s"]),
                    averaging_s=sensor.get("averaging_s"),
                    lag_s=sensor.get("lag_s"),
                    resolution=None if rail.get("resolution") is None else
                    float(rail["resolution"]) * 1e-6,
                    wrap=rail.get("wrap"),
                    low=float(rail.get("low", 0.0)) * 1e-6,
                    high=float(rail.get("high", 1e12)) * 1e-6,
                    gain_error=sensor.get("gain_error"),
                    on_demand=bool(sensor.get("on_demand", False)),
                )  # fmt: skip
        raise UsageError(f"the sensor {sensor.get('name')} has no rail {label!r}")

    @property
    def step_w(self) -> float:
        """One step of the power that is read, W; 0 where it is not known."""
        if self.resolution is None:
            return 0.0
        return self.resolution / self.period_s if self.unit == ENERGY else self.resolution

    @property
    def gapless(self) -> bool:
        """Whether readings miss next to nothing between them, so that they can be summed."""
        return self.unit == ENERGY or (
            self.averaging_s is not None and self.averaging_s >= 0.9 * self.period_s
        )

    @property
    def delay_s(self) -> float:
        """A reading so long after a change of the load holds nothing from before it, s."""
        averaging = self.period_s if self.averaging_s is None else self.averaging_s
        lag = 2 * self.period_s if self.lag_s is None else self.lag_s
        return lag + averaging + (0.0 if self.on_demand else self.period_s)

    @property
    def settle_s(self) -> float:
        """After this long the energy of a change is wholly in the readings, s."""
        return self.delay_s + self.period_s


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time on the readings' clock, s; ``n`` inferences, 0 when idle."""

    start_s: float
    end_s: float
    n: int = 0
    session: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Trace:
    """Energy drawn since the first reading, at each reading.

    Attributes:
        t_s: times of the readings, increasing, shape (n,).
        energy_j: energy up to each of them, shape (n,).
        read_s, read_w: the powers that were read, or for a counter those between two of its
            readings, with the times from which on they hold nothing older, shape (m,).
        rail: what was read.
    """

    t_s: Floats
    energy_j: Floats
    read_s: Floats
    read_w: Floats
    rail: Rail

    def between(self, start_s: float, end_s: float) -> float:
        """Joules from ``start_s`` to ``end_s``, power held constant between readings."""
        first, last = np.interp((start_s, end_s), self.t_s, self.energy_j)
        return float(last - first)

    def largest_gap_s(self, start_s: float, end_s: float) -> float:
        """The longest time without a reading inside a stretch, its edges included."""
        inside = self.t_s[(self.t_s > start_s) & (self.t_s < end_s)]
        return float(np.diff(np.concatenate([[start_s], inside, [end_s]])).max())

    def inside(self, window: Window) -> Floats:
        """The powers that hold nothing but this window, of whole inferences, shape (k,)."""
        start = window.start_s + self.rail.delay_s
        # A reading is late by the lag: those just after the end still belong to the window.
        end = window.end_s + (self.rail.lag_s or 0.0)
        if window.n:
            # An inference has phases: a part of one more would count some of them twice.
            latency = window.seconds / window.n
            end = start + max(1, math.floor((end - start) / latency + 1e-9)) * latency
        return self.read_w[(self.read_s >= start) & (self.read_s < end)]


def trace(
    rail: Rail,
    t_ns: Sequence[int],
    values: Sequence[int | None],
    windows: Sequence[Window],
    *,
    states: Sequence[Mapping[str, Any]] = (),
    changed: str | None = None,
) -> Trace:
    """The energy that raw readings tell.

    Args:
        rail: what was read.
        t_ns: times of the readings.
        values: raw values in the rail's unit, None where a reading was no number.
        windows: what ran when, in order.
        states: the sensor's further state before and after (a battery's ``status``).
        changed: what is no longer as it was found, as the agent says it.

    Raises:
        SensorRefused: energy cannot be told exactly from these readings.
    """
    if changed:
        raise SensorRefused(f"the sensor of {rail.label} changed while it was read: {changed}")
    t_s, known = _known(rail, t_ns, values)
    if rail.unit == ENERGY:
        energy = unwrapped(rail, t_s, known)
        found = Trace(t_s, energy, t_s[1:], np.diff(energy) / np.diff(t_s), rail)
    else:
        watts = _watts(rail, known, states)
        energy = np.concatenate([[0.0], np.cumsum((watts[1:] + watts[:-1]) / 2 * np.diff(t_s))])
        found = Trace(t_s, energy, t_s, watts, rail)
    _plausible(found, windows)
    return found


def _known(rail: Rail, t_ns: Sequence[int], values: Sequence[int | None]) -> tuple[Floats, Floats]:
    pairs = [(t, v) for t, v in zip(t_ns, values, strict=True) if v is not None]
    missing = len(values) - len(pairs)
    if len(pairs) < 4:
        raise SensorRefused(f"{rail.label} gave {len(pairs)} readings: too few to tell energy")
    if missing > MOST_MISSING * len(values):
        raise SensorRefused(
            f"{missing} of {len(values)} readings of {rail.label} failed: check the sensor"
        )
    times = np.array([t for t, _ in pairs], dtype=np.int64)
    fresh = np.concatenate([[True], np.diff(times) > 0])
    # Whole nanoseconds since the first: a float would lose them after some weeks of uptime.
    known = np.array([float(v) for _, v in pairs])
    return times[fresh] * 1e-9, known[fresh]


def _watts(rail: Rail, known: Floats, states: Sequence[Mapping[str, Any]]) -> Floats:
    watts = known * 1e-6
    if rail.low < 0:
        watts = _discharge(rail, watts, states)
    slack = 2 * (rail.resolution or 0.0)
    if np.any(watts < -slack):
        raise SensorRefused(f"{rail.label} reads negative power: its sign or its shunt is wrong")
    if np.any(watts > rail.high):
        raise SensorRefused(
            f"{rail.label} reads {watts.max():g} W, more than the {rail.high:g} W that it can "
            "carry: its unit is not what its driver says"
        )
    return watts


def _discharge(rail: Rail, watts: Floats, states: Sequence[Mapping[str, Any]]) -> Floats:
    """A battery's readings without their sign, which vendors give as they like."""
    for state in states:
        status = state.get("status")
        if status is not None and status != "Discharging":
            raise SensorRefused(
                f"{rail.label} is {str(status).lower()}: unplug the charger, measure over Wi-Fi"
            )
    if not states or any("status" not in state for state in states):
        raise SensorRefused(f"{rail.label} does not say whether it is discharging")
    signs = np.unique(np.sign(watts[watts != 0]))
    if signs.size > 1:
        raise SensorRefused(f"{rail.label} changed its sign while it was read")
    return np.abs(watts)


def unwrapped(rail: Rail, t_s: Floats, counts: Floats) -> Floats:
    """Joules since the first reading of a counter, wraps undone.

    A backward step is a wrap only where the range is known and the energy in between fits
    the readings around it; a reset does not fit, and is refused.

    Raises:
        SensorRefused: a backward step that is no certain wrap, or an impossible rate.
    """
    steps, spans = np.diff(counts), np.diff(t_s)
    back = np.flatnonzero(steps < 0)
    if back.size and not rail.wrap:
        raise SensorRefused(
            f"the counter {rail.label} went backwards and its range is unknown: a wrap cannot "
            "be told from a reset"
        )
    if rail.wrap and np.any(counts >= rail.wrap):
        raise SensorRefused(f"the counter {rail.label} exceeds the range that it states")
    rates = np.where(steps >= 0, steps, np.nan) / spans
    for index in back:
        around = rates[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
        around = around[np.isfinite(around)]
        step = steps[index] + float(rail.wrap or 0)
        steps[index] = _checked_wrap(rail, step, spans[index], around)
    powers = steps / spans * 1e-6
    if np.any(powers > rail.high):
        raise SensorRefused(
            f"the counter {rail.label} jumped by {powers.max():g} W, more than the "
            f"{rail.high:g} W that it can count"
        )
    return np.concatenate([[0.0], np.cumsum(steps)]) * 1e-6


def _checked_wrap(rail: Rail, step: float, span_s: float, around: Floats) -> float:
    """``step`` if it fits the rates ``around``, in raw units per second."""
    if around.size < 4 or float(around.max()) <= 0:
        raise SensorRefused(f"the counter {rail.label} went backwards with too few readings near")
    slack = 4e6 * (rail.resolution or 0.0)
    most = _WRAP_RATIO * float(around.max()) * span_s + slack
    least = float(around.min()) * span_s / _WRAP_RATIO - slack
    # Where the range itself is that small, two wraps could hide in one step.
    if not least <= step <= most or most >= float(rail.wrap or 0):
        raise SensorRefused(
            f"the counter {rail.label} went backwards by what is no wrap: it was reset"
        )
    return step


def _plausible(found: Trace, windows: Sequence[Window]) -> None:
    """Refuses what no equal work can be: jumps of unit, a reading that never moves."""
    rail = found.rail
    if len(found.read_w) >= _LEAST_MOVING and _never_moves(found):
        raise SensorRefused(f"{rail.label} never moved while the load did: the sensor is stuck")
    step = max(rail.step_w, 1e-9)
    top = max(_middles(found, windows, work=True), default=0.0)
    rest = max(_middles(found, windows, work=False), default=0.0)
    powers = found.read_w
    # Rails of parts may idle at nothing: there is no least reading then.
    least = min(top, rest) if min(top, rest) > 50 * step else 0.0
    if np.any(powers < least / MOST_RATIO) or (
        top > 0 and np.any(powers > MOST_RATIO * max(top, 4 * step))
    ):
        raise _damaged(rail, powers)
    for window in windows:
        own = found.inside(window)
        if not window.n or own.size < 3:
            continue
        middle = float(np.median(own))
        if middle > 50 * step and np.any(own < middle / MOST_RATIO):
            raise _damaged(rail, own)
        if rail.role == "total" and middle < LEAST_TOTAL_W:
            raise SensorRefused(
                f"{rail.label} reads {middle:.3g} W at work: no board draws so little, so its "
                "unit is not what its driver says"
            )


def _middles(found: Trace, windows: Sequence[Window], *, work: bool) -> list[float]:
    """Median power of each window of work, or of idling."""
    inside = [found.inside(window) for window in windows if bool(window.n) is work]
    return [float(np.median(powers)) for powers in inside if powers.size]


def _damaged(rail: Rail, powers: Floats) -> SensorRefused:
    return SensorRefused(
        f"{rail.label} read {powers.min():.3g} to {powers.max():.3g} W within one block: its "
        "unit changed or its readings are damaged"
    )


def _never_moves(found: Trace) -> bool:
    powers = found.read_w
    if np.ptp(powers) > 1e-6 * max(1e-9, float(np.abs(powers).max())):
        return False
    level = float(powers[0])
    # A coarse sensor may well read the same step all the time.
    return found.rail.step_w < 0.005 * level or level == 0.0
