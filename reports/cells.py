"""From a result's JSON to what stands in a page: units for people, exact numbers beside them.

Results are read as plain mappings and tolerantly: a field that is missing or null is shown as
"–", never as 0, so that pages open results of older and newer versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports.page import Cell
from lwprof.units import format_quantity

NOTHING = Cell("–")
_SOURCES = {"measured": "", "": ""}


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def quantity(value: Any, unit: str) -> Cell:
    """A bare number in the unit a person would use."""
    found = number(value)
    if found is None:
        return NOTHING
    if unit == "" and isinstance(found, int) and abs(found) < 10_000:
        return Cell(str(found), found)
    return Cell(format_quantity(found, unit), found)


def estimate(data: Any, unit: str) -> Cell:
    """An estimate with its interval, ``≤`` below the method's resolution, its source if not measured."""
    if not isinstance(data, Mapping):
        return quantity(data, unit)
    value = number(data.get("value"))
    if value is None:
        return NOTHING
    low, high = number(data.get("low")), number(data.get("high"))
    source = str(data.get("source") or "")
    note = "" if source in _SOURCES else f", {source}"
    if data.get("at_most") is True:
        return Cell(f"≤ {format_quantity(value, unit)}", value, low, high, note.strip(", "))
    ends = [("?" if end is None else format_quantity(end, unit)) for end in (low, high)]
    return Cell(format_quantity(value, unit), value, low, high, f"{ends[0]} – {ends[1]}{note}")


def ratio(data: Any) -> Cell:
    """A ratio with its interval, e.g. ``1.034 ×``."""
    if not isinstance(data, Mapping):
        found = number(data)
        return NOTHING if found is None else Cell(f"{found:.3f} ×", found)
    value = number(data.get("value"))
    if value is None:
        return NOTHING
    low, high = number(data.get("low")), number(data.get("high"))
    ends = [("?" if end is None else f"{end:.3f}") for end in (low, high)]
    return Cell(f"{value:.3f} ×", value, low, high, f"{ends[0]} – {ends[1]}")


def share(value: Any, digits: int = 1) -> Cell:
    """A fraction as percent."""
    found = number(value)
    return NOTHING if found is None else Cell(f"{found:.{digits}%}", found)


def text(value: Any) -> Cell:
    """Any text, made of printable characters only."""
    return NOTHING if value is None or value == "" else Cell(printable(value))


def printable(value: Any) -> str:
    """A text without control characters."""
    return "".join(c if c.isprintable() else "�" for c in str(value))


def middle(data: Any) -> float | None:
    """An estimate's value, or the bare number itself."""
    return number(data.get("value") if isinstance(data, Mapping) else data)


def ends(data: Any) -> tuple[float | None, float | None]:
    """An estimate's interval."""
    if not isinstance(data, Mapping):
        return None, None
    return number(data.get("low")), number(data.get("high"))


def mapping(value: Any) -> Mapping[str, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list | tuple) else ()


def context_facts(data: Mapping[str, Any]) -> dict[str, str]:
    """How a result was obtained, in words, as far as it says."""
    context = mapping(data.get("context"))
    facts = mapping(context.get("facts"))
    found = {
        "Device": data.get("device"), "Board": context.get("board"), "Processor": facts.get("cpu"),
        "Environment": context.get("environment"),
        "Runtime": " ".join(str(context.get(k) or "") for k in ("runtime", "runtime_version")),
        "Provider": context.get("provider"), "Threads": context.get("threads"),
        "Pinned to CPUs": ", ".join(str(c) for c in items(context.get("affinity"))),
        "Precision": context.get("precision"), "Batch": context.get("batch"),
        "Power mode": context.get("power_mode"), "System": facts.get("os"),
        "Kernel": facts.get("kernel"), "Started": data.get("started"),
        "Took": format_quantity(number(data.get("duration_s")), "s")
        if number(data.get("duration_s")) is not None else None,
        "Run": data.get("run"),
    }  # fmt: skip
    return {name: printable(value) for name, value in found.items() if value not in (None, "", " ")}


def setting(data: Mapping[str, Any]) -> str:
    """One line: device, runtime, provider, threads, environment."""
    context = mapping(data.get("context"))
    threads = context.get("threads")
    parts = [
        data.get("device"),
        " ".join(str(context[k]) for k in ("runtime", "runtime_version") if context.get(k)),
        context.get("provider"),
        None if threads is None else f"{threads} thread{'' if threads == 1 else 's'}",
        context.get("environment"),
        str(data.get("started") or "")[:10],
    ]
    return " · ".join(printable(part) for part in parts if part)
