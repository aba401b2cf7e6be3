"""The power chip of a Raspberry Pi 5: twelve rails with voltage and current, no counter.

``EXT5V`` and ``BATT`` have no current, so what hangs on 5 V (USB, HATs, NVMe) is not seen and
no rail stands for the board. Currents and voltages are paired by name, never by index.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ..system import read_text
from .gencmd import Firmware
from .sensor import SEPARATE, Missing, Rail, Sensor, Values

_LINE = re.compile(rb"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(-?\d+(?:\.\d+)?)[AV]\s*$")
_MODEL = ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model")
_INCLUDES = {
    "VDD_CORE": ["cpu", "gpu"], "DDR_VDD2": ["memory"], "DDR_VDDQ": ["memory"],
    "1V1_SYS": ["soc"], "0V8_SW": ["soc"], "0V8_AON": ["soc"], "1V8_SYS": ["soc"],
    "3V3_SYS": ["soc"], "HDMI": ["display"], "3V7_WL_SW": ["wireless"],
    "3V3_DAC": ["video"], "3V3_ADC": ["video"],
}  # fmt: skip
_HIGHEST_UW = 30e6
# Nobody documents how often the chip converts; polling faster disturbs the board.
_PERIOD_S = 0.04


def probe() -> List[Any]:
    """The Pi 5's chip, or why a Pi has none."""
    model = next((text for text in map(read_text, _MODEL) if text), "") or ""
    if "Raspberry Pi" not in model:
        return []
    firmware = Firmware()
    try:
        labels = sorted(pairs(firmware.ask("pmic_read_adc")))
    except OSError as error:
        labels, why = [], str(error)
    else:
        why = "its firmware knows no pmic_read_adc"
    direct = firmware.direct
    firmware.close()
    name = model.splitlines()[0]
    if labels:
        return [Pmic(labels, direct)]
    if "Raspberry Pi 5" in name or "Compute Module 5" in name:
        return [Missing("rpi_pmic", name, why, "sudo usermod -aG video $USER, then log in again")]
    return [
        Missing(
            "none", name, "this board has no power sensor",
            "attach an external meter (docs/energy.md), or ask for a simulated estimate",
        )
    ]  # fmt: skip


def pairs(answer: bytes) -> Dict[str, int]:
    """Microwatts of each rail whose current and voltage are both there and are numbers."""
    found: Dict[str, Dict[bytes, float]] = {}
    for line in answer.split(b"\n"):
        match = _LINE.match(line)
        if match:
            found.setdefault(match.group(1).decode("ascii"), {})[match.group(2)] = float(
                match.group(3)
            )
    return {
        label: round(both[b"A"] * both[b"V"] * 1e6)
        for label, both in found.items()
        if len(both) == 2
    }


class Pmic(Sensor):
    """Reads all pairs by one question to the firmware."""

    family = "rpi_pmic"
    on_demand = True

    def __init__(self, labels: List[str], direct: bool) -> None:
        rails = [
            Rail(label, _INCLUDES.get(label, ["unknown"]), role=SEPARATE, high=_HIGHEST_UW)
            for label in labels
        ]
        Sensor.__init__(self, "pmic", rails, _PERIOD_S if direct else 0.2)
        self.costly = not direct
        self.averaging_s = 0.0
        self.whole = (
            "no rail of this board carries its 5 V input's current: the rails leave out USB, "
            "HATs, NVMe and the converters' losses"
        )
        self._firmware: Optional[Firmware] = None

    def open(self) -> None:
        self.close()
        self._firmware = Firmware()
        if not self._firmware.there:
            raise OSError("the firmware cannot be asked")

    def read(self) -> bytes:
        if self._firmware is None:
            raise OSError("not open")
        return self._firmware.ask("pmic_read_adc")

    def parse(self, raw: bytes) -> Values:
        found = pairs(raw)
        return [found.get(rail.label) for rail in self.rails]

    def close(self) -> None:
        if self._firmware is not None:
            self._firmware.close()
            self._firmware = None
