"""Counts printed for people."""

from __future__ import annotations

from lwprof.units import format_quantity


def count_text(number: int | None) -> str:
    """A count in full while it is short, scaled (``1.24 M``) when it is not."""
    if number is None or number >= 10_000:
        return format_quantity(number, "")
    return str(number)


def macs_text(macs: int | None, counted: int) -> str:
    """A total of MACs; ``≥`` before what was counted where some operators could not be."""
    return count_text(macs) if macs is not None else f"≥ {count_text(counted)}"
