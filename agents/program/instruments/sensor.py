"""What every power sensor is: rails with their scope, how it measures, and how it is read."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..system import sysroot

# Units of raw values. All are whole numbers, so that nothing is lost on the way.
POWER, ENERGY = "uW", "uJ"

TOTAL, PART, SEPARATE = "total", "part", "separate"

Values = List[Optional[int]]


class Rail:
    """One quantity that a sensor publishes.

    Args:
        label: the sensor's own name of it.
        includes: what draws from it, as far as its name says (``cpu``, ``gpu`` …).
        unit: ``uW`` for power, ``uJ`` for a counter of energy.
        role: ``total`` (stands for the device or module), ``part`` (lies inside a total:
            never added to it) or ``separate`` (no rail covers it and the others).
        resolution: one step of the raw value, in ``unit``; None where nobody tells.
        wrap: a counter's range; it starts again from 0 after it. None where nobody tells.
        low, high: raw values outside cannot be (``unit``, or ``unit`` per second for counters).
    """

    def __init__(
        self,
        label: str,
        includes: Sequence[str],
        unit: str = POWER,
        role: str = PART,
        resolution: Optional[float] = None,
        wrap: Optional[int] = None,
        low: float = 0.0,
        high: float = 1e9,
    ) -> None:
        self.label = label
        self.includes = list(includes)
        self.unit = unit
        self.role = role
        self.resolution = resolution
        self.wrap = wrap
        self.low = low
        self.high = high

    def to_json(self) -> Dict[str, Any]:
        """The rail as it travels; what is not known is left out."""
        found: Dict[str, Any] = {
            "label": self.label,
            "includes": self.includes,
            "unit": self.unit,
            "role": self.role,
            "resolution": self.resolution,
            "wrap": self.wrap,
            "low": self.low,
            "high": self.high,
        }
        return {key: value for key, value in found.items() if value is not None}


class Sensor:
    """One sensor with its rails. Subclasses read it; ``open`` comes before ``read``.

    Attributes:
        family: e.g. ``ina3221``.
        name: tells this one from others of the family by where it is, not by number.
        rails: what it publishes, in the order of ``read``.
        period_s: how often it has a new value.
        averaging_s: how long a value was averaged; 0 is a point in time, None unknown.
        lag_s: how late a value is; None unknown (measured by a step test).
        gain_error: largest relative error by the data sheet; None where nobody tells.
        on_demand: each reading starts a conversion, so that readings may be dithered.
        whole: why no total is offered, or None.
        notes: for people.
    """

    family = ""
    on_demand = False
    # Programs are started for each reading: too dear while latency is timed.
    costly = False

    def __init__(self, name: str, rails: Sequence[Rail], period_s: float) -> None:
        self.name = name
        self.rails = list(rails)
        self.period_s = period_s
        self.averaging_s: Optional[float] = None
        self.lag_s: Optional[float] = None
        self.gain_error: Optional[float] = None
        self.whole: Optional[str] = None
        self.notes: List[str] = []
        self.context: Dict[str, Any] = {}

    def only(self, labels: Sequence[str]) -> None:
        """Leaves out the other rails where that makes a reading cheaper.

        Raises:
            LookupError: it has no such rail.
        """
        known = [rail.label for rail in self.rails]
        for label in labels:
            if label not in known:
                raise LookupError("it has no rail %r" % label)

    def open(self) -> None:
        """Opens what ``read`` needs; OSError where that cannot be."""

    def read(self) -> bytes:
        """One reading, as raw as it came and as quick as can be.

        Raises:
            OSError: the sensor failed.
        """
        raise NotImplementedError

    def parse(self, raw: bytes) -> Values:
        """The values of one reading, one for each rail; None for what is no number."""
        raise NotImplementedError

    def stamp_ns(self, raw: bytes) -> Optional[int]:
        """The sensor's own time stamp of a reading, where it has one."""
        return None

    def close(self) -> None:
        """Closes what ``open`` opened."""

    def check(self) -> Optional[str]:
        """What has changed about the sensor since it was found; None if nothing.

        Read before and after each window, since a rail renamed or a sensor moved in
        between would give plausible wrong numbers.
        """
        return None

    def state(self) -> Dict[str, Any]:
        """What else must be known about a window's ends, e.g. a battery's state."""
        return {}

    def to_json(self) -> Dict[str, Any]:
        """The sensor as it travels; what is not known is left out."""
        found: Dict[str, Any] = {
            "family": self.family,
            "name": self.name,
            "rails": [rail.to_json() for rail in self.rails],
            "period_s": self.period_s,
            "averaging_s": self.averaging_s,
            "lag_s": self.lag_s,
            "gain_error": self.gain_error,
            "on_demand": self.on_demand,
            "costly": self.costly,
            "whole": self.whole,
            "notes": self.notes,
            "context": self.context or None,
            "sysroot": sysroot() or None,
        }
        return {key: value for key, value in found.items() if value is not None}


class Missing:
    """A sensor that is there and cannot be used, or a board that has none, and what to do."""

    def __init__(self, family: str, name: str, why: str, advice: str = "") -> None:
        self.family = family
        self.name = name
        self.why = why
        self.advice = advice

    def to_json(self) -> Dict[str, Any]:
        """As it travels."""
        return {"family": self.family, "name": self.name, "why": self.why, "advice": self.advice}
