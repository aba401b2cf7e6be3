"""The one parser and the one printer of quantities with units.

Inside lwprof everything is SI (seconds, joules, bytes, fractions); units appear
only where a person types or reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from lwprof.errors import UnitError

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d]*)\s*")

_DURATION = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0,
             "min": 60.0, "m": 60.0, "h": 3600.0}  # fmt: skip
_ENERGY = {"nJ": 1e-9, "uJ": 1e-6, "µJ": 1e-6, "μJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3,
           "mWh": 3.6, "Wh": 3600.0}  # fmt: skip
_SIZE = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
         "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}  # fmt: skip
_FRACTION = {"%": 0.01, "": 1.0}


def parse_duration(text: str) -> float:
    """Seconds from text such as ``30ms``, ``5m``, ``1.5h`` or ``90s``.

    Raises:
        UnitError: no unit, an unknown unit, a negative or non-finite number.
    """
    return _parse(text, _DURATION, "duration", "30ms, 5m or 1.5h")


def parse_energy(text: str) -> float:
    """Joules from text such as ``50mJ`` or ``1.2J``.

    Raises:
        UnitError: no unit, an unknown unit, a negative or non-finite number.
    """
    return _parse(text, _ENERGY, "energy", "50mJ or 1.2J")


def parse_size(text: str) -> int:
    """Bytes from text such as ``320KiB`` or ``4MB``; decimal and binary prefixes differ.

    Raises:
        UnitError: no unit, an unknown unit, a negative or non-finite number.
    """
    return round(_parse(text, _SIZE, "size", "320KiB or 4MB"))


def parse_fraction(text: str) -> float:
    """A fraction from ``5%`` or ``0.05``.

    Raises:
        UnitError: an unknown unit, a negative or non-finite number.
    """
    return _parse(text, _FRACTION, "fraction", "5% or 0.05")


def _parse(text: str, units: Mapping[str, float], what: str, example: str) -> float:
    match = _NUMBER.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise UnitError(f"cannot read {text[:64]!r} as a {what}: write it like {example}")
    number, unit = float(match[1]), match[2]
    if unit not in units:
        near = next((u for u in units if u.lower() == unit.lower()), None)
        hint = f" (did you mean {near!r}?)" if near and unit else ""
        missing = "has no unit" if not unit else f"has the unknown unit {unit!r}{hint}"
        raise UnitError(f"{what} {text!r} {missing}: write it like {example}")
    value = number * units[unit]
    if not math.isfinite(value) or value < 0:
        raise UnitError(f"{what} {text!r} must be finite and not negative")
    return value


_SCALES: dict[str, list[tuple[float, str]]] = {
    "s": [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")],
    "J": [(1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"), (1e3, "kJ")],
    "W": [(1e-3, "mW"), (1.0, "W"), (1e3, "kW")],
    "B": [(1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB")],
    "": [(1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")],
}


def format_quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """``value`` (SI) printed in the scale a person would use, e.g. ``12.3 ms``.

    Args:
        value: the quantity in SI units; None prints as "unknown".
        unit: "s", "J", "W", "B" or "" (a count).
        digits: significant digits.
    """
    if value is None:
        return "unknown"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".strip()
    scale, name = _SCALES[unit][0]
    for candidate, label in _SCALES[unit]:
        # Compare the rounded figure, so that 999.96 µs prints as 1.00 ms.
        if abs(value) >= candidate * (1 - 0.5 * 10**-digits):
            scale, name = candidate, label
    figure = float(f"{value / scale:.{digits - 1}e}")  # so that 0.99996 counts its digits as 1.00
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(figure)) + 1e-9))
    return f"{figure:.{decimals}f} {name}".strip()
