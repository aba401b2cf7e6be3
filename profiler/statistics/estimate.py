"""The one shape every uncertain number of lwprof has: a value with its interval and source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.errors import UsageError

SOURCES = frozenset(
    {"measured", "interpolated", "predicted", "extrapolated", "simulated", "computed"}
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval, in SI units (which quantity it is, the field's name says).

    Attributes:
        value: the point estimate; with ``at_most`` it is the bound itself.
        low: lower end of the interval; ``-inf`` when nothing bounds it.
        high: upper end of the interval; ``inf`` when nothing bounds it (one block
            says nothing about its own spread).
        level: probability with which the interval covers the truth.
        source: one of ``SOURCES``.
        blocks: independent visits (fresh processes) behind the number.
        n: iterations behind the number, over all blocks.
        at_most: True when the quantity lies below the method's resolution, so that
            only its upper bound ``value == high`` is known.

    Raises:
        UsageError: NaN, an infinite value, ends in the wrong order, or an unknown source.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    source: str = "measured"
    blocks: int | None = None
    n: int | None = None
    at_most: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise UsageError(f"an estimate's value must be finite, not {self.value!r}")
        # Written so that a NaN end fails too.
        if not self.low <= self.value <= self.high:
            raise UsageError(
                f"an estimate needs low <= value <= high, not "
                f"{self.low!r}, {self.value!r}, {self.high!r}"
            )
        if not 0.0 < self.level < 1.0:
            raise UsageError(f"an estimate's level must lie between 0 and 1, not {self.level!r}")
        if self.source not in SOURCES:
            raise UsageError(f"unknown source {self.source!r}; one of {', '.join(sorted(SOURCES))}")

    @property
    def half_width(self) -> float:
        """Half the interval's width, in the value's unit."""
        return (self.high - self.low) / 2

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width over the value; ``inf`` at value 0 with a width."""
        if self.half_width == 0:
            return 0.0
        return self.half_width / abs(self.value) if self.value else math.inf

    def scaled(self, factor: float) -> Estimate:
        """The same estimate of ``factor`` times the quantity (a unit, a count of kernels)."""
        ends = sorted((self.low * factor, self.high * factor))
        return Estimate(
            value=self.value * factor,
            low=ends[0],
            high=ends[1],
            level=self.level,
            source=self.source,
            blocks=self.blocks,
            n=self.n,
            at_most=self.at_most,
        )

    def to_json(self) -> dict[str, Any]:
        """The contract's JSON form; an end that nothing bounds is null, as JSON has no infinity."""
        out: dict[str, Any] = {
            "value": self.value,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
            "level": self.level,
            "source": self.source,
        }
        if self.source == "measured":
            out["blocks"] = self.blocks
            out["n"] = self.n
        if self.at_most:
            out["at_most"] = True
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Estimate:
        """Read what ``to_json`` wrote; unknown fields are ignored, so newer files still open.

        Raises:
            UsageError: a field is missing or of the wrong type.
        """
        return cls(
            value=_number(data, "value"),
            low=_number(data, "low", or_null=True),
            high=_number(data, "high", or_null=True),
            level=_number(data, "level"),
            source=str(data.get("source", "")),
            blocks=_count(data, "blocks"),
            n=_count(data, "n"),
            at_most=data.get("at_most", False) is True,
        )


def _number(data: Mapping[str, Any], name: str, or_null: bool = False) -> float:
    value = data.get(name)
    if value is None and or_null and name in data:
        return math.inf if name == "high" else -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"an estimate's {name!r} must be a number, not {value!r}")
    return float(value)


def _count(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"an estimate's {name!r} must be a count, not {value!r}")
    return value
