"""On-device power monitors of Pixel phones: energy counters by rail, in one file of each chip.

``energy_value`` begins with ``t=`` and milliseconds, then has lines such as
``CH2(T=358356)[S2M_VDD_CPUCL2], 145832654`` in microwatt seconds.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional

from ..system import find, place, read_text
from .sensor import ENERGY, SEPARATE, Missing, Rail, Sensor, Values

_LINE = re.compile(rb"^CH\d+\(T=\d+\)\[([^\]]+)\], (\d{1,18})\s*$")
_TIME = re.compile(rb"^t=(\d{1,15})\s*$")
_MOST = 8192
_READ_S = 0.1
_HIGHEST_UW = 50e6
_INSIDE = (("CPUCL", "cpu"), ("GPU", "gpu"), ("G3D", "gpu"), ("TPU", "accelerators"),
           ("DDR", "memory"), ("MIF", "memory"), ("DISPLAY", "display"))  # fmt: skip


def probe() -> List[Any]:
    """Every monitor chip whose counters can be read."""
    found: List[Any] = []
    for folder in find("/sys/bus/iio/devices/iio:device*"):
        name = read_text(folder + "/name") or ""
        if "odpm" not in name:
            continue
        text = read_text(folder + "/energy_value")
        counters = energies((text or "").encode("utf-8", "replace"))
        if counters:
            found.append(Odpm(folder, name, sorted(counters)))
        else:
            found.append(Missing("odpm", name, "its counters cannot be read",
                                 "they need root; perfetto's android.power does not"))  # fmt: skip
    return found


def energies(raw: bytes) -> Dict[str, int]:
    """Microjoules of each rail that one reading names once."""
    found: Dict[str, int] = {}
    twice = set()
    for line in raw.split(b"\n"):
        match = _LINE.match(line.rstrip(b"\r"))
        if match:
            label = match.group(1).decode("ascii", "replace")
            if label in found:
                twice.add(label)
            found[label] = int(match.group(2))
    return {label: value for label, value in found.items() if label not in twice}


class Odpm(Sensor):
    """One chip: all rails by one ``pread``."""

    family = "odpm"

    def __init__(self, folder: str, name: str, labels: List[str]) -> None:
        rails = [
            Rail(label, _includes(label), ENERGY, SEPARATE, resolution=1.0, high=_HIGHEST_UW)
            for label in labels
        ]
        Sensor.__init__(self, name, rails, _READ_S)
        self.averaging_s = _READ_S  # a counter misses nothing between two readings
        self.whole = "its rails are separate supplies; the battery is the whole phone"
        self._path = folder + "/energy_value"
        self._name_path = folder + "/name"
        self._handle: Optional[int] = None
        rate = read_text(folder + "/sampling_rate")
        if rate:
            self.context["sampling_rate"] = rate[:64]

    def open(self) -> None:
        self.close()
        self._handle = os.open(place(self._path), os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        if self._handle is None:
            raise OSError("not open")
        return os.pread(self._handle, _MOST, 0)

    def parse(self, raw: bytes) -> Values:
        found = energies(raw)
        return [found.get(rail.label) for rail in self.rails]

    def stamp_ns(self, raw: bytes) -> Optional[int]:
        match = _TIME.match(raw.split(b"\n", 1)[0].rstrip(b"\r"))
        return int(match.group(1)) * 1000000 if match else None

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def check(self) -> Optional[str]:
        now = read_text(self._name_path)
        return None if now == self.name else "the chip is called %r now" % now


def _includes(label: str) -> List[str]:
    upper = label.upper()
    return sorted({what for part, what in _INSIDE if part in upper}) or ["unknown"]
