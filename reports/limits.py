"""What a device cannot exceed, and which of it stands in a kernel's way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.reports.cells import mapping


@dataclass(frozen=True, slots=True)
class Limits:
    """A board's peaks; None where its profile states none.

    Attributes:
        mac_per_s, bandwidth_bytes_per_s: of all its cores; sources: who says so.
    """

    mac_per_s: float | None = None
    bandwidth_bytes_per_s: float | None = None
    sources: tuple[str, ...] = ()

    def side(self, macs: float | None, size: float | None) -> str:
        """ "compute" or "memory": the roof above a kernel of this work; "–" where not known."""
        if not size or macs is None:
            return "–"
        if not macs:
            return "memory"
        if self.mac_per_s is None or self.bandwidth_bytes_per_s is None:
            return "–"
        ridge = self.mac_per_s / self.bandwidth_bytes_per_s
        return "compute" if macs / size >= ridge else "memory"


def limits_of(data: Mapping[str, Any]) -> Limits:
    """The peaks in the profile of the board a result was obtained on."""
    from lwprof.device_profiles import load_profile
    from lwprof.errors import LwprofError

    board = mapping(data.get("context")).get("board")
    if not isinstance(board, str):
        return Limits()
    try:
        peaks = load_profile(board).peaks
    except LwprofError:
        return Limits()  # a board of another user: its result still opens
    found: dict[str, float] = {}
    for peak in peaks:
        if peak.precision in (None, "float32"):
            found.setdefault(peak.quantity, peak.value)
    return Limits(found.get("mac_per_s"), found.get("bandwidth_bytes_per_s"),
                  tuple(peak.source for peak in peaks))  # fmt: skip
