"""A battery's gauge: the whole device, screen and radios included.

The kernel's rule is microamperes, negative while discharging; vendors break both. The values
travel as they are, with the gauge's status at both ends of a window, and the host refuses what
does not fit together. Nothing is measured while it charges.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..system import find, read_int, read_text
from .files import FileSensor
from .sensor import TOTAL, Missing, Rail

# Gauges refresh at intervals that no file tells; calibration measures it.
_PERIOD_S = 1.0
_HIGHEST_UW = 100e6


def probe() -> List[Any]:
    """Every battery that is present and of the device's own scope."""
    found: List[Any] = []
    for folder in find("/sys/class/power_supply/*"):
        if read_text(folder + "/type") != "Battery" or read_text(folder + "/scope") == "Device":
            continue
        if read_text(folder + "/present") == "0":
            continue
        name = folder.rsplit("/", 1)[1]
        if read_int(folder + "/current_now") is None or read_int(folder + "/voltage_now") is None:
            found.append(
                Missing("battery", name, "its current or voltage cannot be read",
                        "most phones allow it to root only; use adb's battery counters")
            )  # fmt: skip
        else:
            found.append(Battery(folder, name))
    return found


def discharge_uw(numbers: Sequence[int]) -> Optional[int]:
    """Microwatts from microamperes and microvolts; the sign stays the current's."""
    current, voltage = numbers
    return round(current * voltage / 1e6) if voltage > 0 else None


class Battery(FileSensor):
    """One battery: two files."""

    family = "battery"

    def __init__(self, folder: str, name: str) -> None:
        rail = Rail(name, ["device"], role=TOTAL, low=-_HIGHEST_UW, high=_HIGHEST_UW)
        paths = [[folder + "/current_now", folder + "/voltage_now"]]
        FileSensor.__init__(
            self, name, [rail], _PERIOD_S, paths, discharge_uw, [(folder + "/type", "Battery")]
        )
        self._folder = folder
        self.notes.append("screen and radios included; unplug the charger, measure over Wi-Fi")

    def state(self) -> Dict[str, Any]:
        """``status`` (``Discharging`` …), ``capacity`` in percent, ``temp_c``; what is told."""
        tenths = read_int(self._folder + "/temp")
        found: Dict[str, Any] = {
            "status": read_text(self._folder + "/status"),
            "capacity_percent": read_int(self._folder + "/capacity"),
            "temp_c": None if tenths is None else tenths / 10.0,
        }
        return {key: value for key, value in found.items() if value is not None}
