"""What a device may say about its power sensors and their readings."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from lwprof.agents.message_kinds import Count, Fraction, Message, Nanoseconds, Seconds, Text


class Rail(Message, frozen=True):
    """What a power sensor publishes; see ``program/instruments/sensor.py``.

    Attributes:
        unit: "uW" (power) or "uJ" (a counter of energy).
        role: "total", "part" of a total, or "separate".
        resolution: one step; ``wrap``: a counter's range; ``low`` and ``high``: what can be.
    """

    label: Text
    includes: list[Text]
    unit: Annotated[str, Meta(pattern="^u[WJ]$")]
    role: Annotated[str, Meta(pattern="^(total|part|separate)$")]
    resolution: Seconds | None = None
    wrap: Count | None = None
    low: float = 0.0
    high: float = 1e9


class Sensor(Message, frozen=True):
    """A power sensor: its rails, how often and how it measures; None: nobody tells."""

    family: Text
    name: Text
    rails: Annotated[list[Rail], Meta(min_length=1, max_length=256)]
    period_s: Annotated[float, Meta(gt=0, le=3600)]
    averaging_s: Seconds | None = None
    lag_s: Seconds | None = None
    gain_error: Fraction | None = None
    on_demand: bool = False
    costly: bool = False
    whole: Text | None = None
    notes: list[Text] = field(default_factory=list)
    context: dict[Text, Any] = field(default_factory=dict)
    sysroot: Text | None = None


class Missing(Message, frozen=True):
    """A power sensor that is of no use, and what to do about it."""

    family: Text
    name: Text
    why: Text
    advice: Text = ""


class Instruments(Message, frozen=True):
    """The device's power sensors, the best first."""

    sensors: list[Sensor]
    missing: list[Missing]
    sysroot: Text | None = None


class PowerSamples(Message, frozen=True):
    """Raw readings; ``values`` by rail, null where a reading was no number."""

    t_ns: list[Nanoseconds]
    values: dict[Text, list[int | None]]
    period_ns: Nanoseconds
    stamps_ns: list[int | None] | None = None
    failures: dict[Text, Count] = field(default_factory=dict)
    slow: Count = 0
    late: Count = 0
    changed: Text | None = None
    states: list[dict[Text, Any]] = field(default_factory=list)
    cpu_s: Seconds = 0.0


class EnergyWindow(Message, frozen=True):
    """One stretch, idle or of ``n`` inferences of a session."""

    kind: Annotated[str, Meta(pattern="^(idle|run)$")]
    t0_ns: Nanoseconds
    t1_ns: Nanoseconds
    session: Text | None = None
    n: Count | None = None
    sampled: bool = True


class EnergyResult(Message, frozen=True):
    """A sensor's samples and the windows in which they were taken."""

    sensor: Sensor
    samples: PowerSamples
    windows: list[EnergyWindow]
