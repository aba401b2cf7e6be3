"""NVIDIA GPUs with NVML, through the driver's own library.

The energy counter (Volta and later) is preferred; it moves in steps of 20 to 100 ms. Power is
an average over one second on most newer chips. A Jetson's library answers nothing: it is
not asked there.
"""

from __future__ import annotations

import ctypes
from typing import Any, List, Optional

from ..system import read_text, sysroot
from .sensor import ENERGY, SEPARATE, TOTAL, Rail, Sensor, Values

_LIBRARY = "libnvidia-ml.so.1"
_READ_S = 0.05
_STEP_S = 0.1
_HIGHEST_UW = 3000e6


def probe() -> List[Any]:
    """Every GPU that tells its energy or its power."""
    if sysroot() or "tegra" in (read_text("/sys/firmware/devicetree/base/compatible") or ""):
        return []
    library = _library()
    if library is None:
        return []
    number = ctypes.c_uint(0)
    if library.nvmlDeviceGetCount_v2(ctypes.byref(number)) != 0:
        return []
    found = [sensor for index in range(min(number.value, 64)) for sensor in _one(library, index)]
    for sensor in found:
        sensor.rails[0].role = TOTAL if len(found) == 1 else SEPARATE
    return found


def _library() -> Any:
    try:
        library = ctypes.CDLL(_LIBRARY)
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def _one(library: Any, index: int) -> List[Any]:
    handle = ctypes.c_void_p()
    if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
        return []
    text = ctypes.create_string_buffer(96)
    title = uuid = ""
    if library.nvmlDeviceGetName(handle, text, ctypes.c_uint(96)) == 0:
        title = text.value.decode("utf-8", "replace")
    if library.nvmlDeviceGetUUID(handle, text, ctypes.c_uint(96)) == 0:
        uuid = text.value.decode("ascii", "replace")
    for counter in (True, False):
        sensor = Gpu(library, handle, uuid or "gpu", title, counter)
        try:
            sensor.read()
            return [sensor]
        except OSError:
            continue
    return []


class Gpu(Sensor):
    """One GPU board: its memory is included, the host is not."""

    family = "nvml"

    def __init__(self, library: Any, handle: Any, uuid: str, title: str, counter: bool) -> None:
        unit = ENERGY if counter else "uW"
        includes = ["gpu", "gpu_memory"]
        if "GH200" in title or "Grace" in title:
            includes = ["gpu", "gpu_memory", "cpu", "memory"]  # the counter covers the module
        rail = Rail(title or "gpu", includes, unit, resolution=1000.0, high=_HIGHEST_UW)
        Sensor.__init__(self, uuid, [rail], _READ_S if counter else _STEP_S)
        self.averaging_s = _READ_S if counter else None
        self.lag_s = _STEP_S if counter else None
        self._library, self._handle, self._counter = library, handle, counter
        if not counter:
            self.notes.append("power may be an average over a second: see docs/energy.md")

    def read(self) -> bytes:
        if self._counter:
            wide = ctypes.c_ulonglong(0)
            code = self._library.nvmlDeviceGetTotalEnergyConsumption(
                self._handle, ctypes.byref(wide)
            )
            value = wide.value
        else:
            narrow = ctypes.c_uint(0)
            code = self._library.nvmlDeviceGetPowerUsage(self._handle, ctypes.byref(narrow))
            value = narrow.value
        if code != 0:
            raise OSError(code, "NVML answered %d" % code)
        return b"%d" % value

    def parse(self, raw: bytes) -> Values:
        value: Optional[int] = int(raw) * 1000 if raw.isdigit() and len(raw) <= 15 else None
        return [value]
