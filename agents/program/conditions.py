"""Looks at clocks, heat and supply all through the timed windows, not only at their ends.

What comes and goes within a block shows in no snapshot, and the firmware's sticky bits tell
only its first time since the boot. Ten looks a second at a handful of files cost about a
thousandth of one core.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, List, Optional

from .system import count, find, place, read_text

_PERIOD_S = 0.1
_MOST = 4096
_CPU = "/sys/devices/system/cpu/cpu%d/cpufreq/%s"
_BITS_FILE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_COOLS = ("cpu", "processor", "powerclamp", "gpu")


class Conditions:
    """Watches while a window is open.

    Args:
        cpus: processors that the workers may use; their clocks are watched.
        period_s: between two looks.
    """

    def __init__(self, cpus: List[int], period_s: float = _PERIOD_S) -> None:
        self._period_s = period_s
        self._handles: Dict[str, int] = {}
        self._open_files(cpus)
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._ended = threading.Event()
        self._low: Dict[str, int] = {}
        self._high: Dict[str, int] = {}
        self._bits = 0
        self._looks = 0
        self._thread: Optional[threading.Thread] = None

    def begin(self) -> None:
        """A window opens: looks now, and from then on until ``end``."""
        if not self._handles or self._open.is_set():
            return
        self._look()
        self._open.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="conditions", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """The window closes, with a last look."""
        if self._open.is_set():
            self._open.clear()
            self._look()

    def close(self) -> Dict[str, Any]:
        """Ends it; what was seen over all windows, what nobody tells left out.

        Returns:
            ``looks``; ``low_freq_hz``, ``high_freq_hz``: of the slowest and the fastest look at
            any one processor (the one that varied most); ``low_limit_hz``, ``high_limit_hz``:
            the same of the highest clock that the kernel allows; ``max_cooling``: highest state
            of a device that cools by slowing down; ``max_temp_c``; ``under_voltage``: whether
            the supply's alarm was on; ``throttled_bits``: the firmware's present bits, joined.
        """
        self._ended.set()
        self._open.set()
        if self._thread is not None:
            self._thread.join(5.0)
        for handle in self._handles.values():
            os.close(handle)
        self._handles = {}
        return self._summary()

    def _open_files(self, cpus: List[int]) -> None:
        wanted = {_BITS_FILE: "bits"}
        for cpu in cpus[:64]:
            wanted[_CPU % (cpu, "scaling_cur_freq")] = "freq:%d" % cpu
            wanted[_CPU % (cpu, "scaling_max_freq")] = "limit:%d" % cpu
        for path in find("/sys/class/thermal/cooling_device*"):
            kind = (read_text(path + "/type") or "").lower()
            if any(part in kind for part in _COOLS):
                wanted[path + "/cur_state"] = "cool:" + path
        for path in find("/sys/class/thermal/thermal_zone*"):
            wanted[path + "/temp"] = "temp:" + path
        for path in find("/sys/class/hwmon/hwmon*"):
            if read_text(path + "/name") == "rpi_volt":
                wanted[path + "/in0_lcrit_alarm"] = "alarm:" + path
        for path, key in wanted.items():
            try:
                self._handles[key] = os.open(place(path), os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue

    def _loop(self) -> None:
        while not self._ended.is_set():
            self._open.wait()
            if self._ended.is_set():
                return
            self._look()
            time.sleep(self._period_s)

    def _look(self) -> None:
        with self._lock:
            self._looks += 1
            for key, handle in self._handles.items():
                try:
                    text = os.pread(handle, _MOST, 0).decode("ascii", "replace").strip()
                except OSError:
                    continue
                if key == "bits":
                    self._bits |= _hexadecimal(text) & 0xF
                    continue
                negative = text.startswith("-")
                figure = count(text[1:] if negative else text)
                if figure is not None:
                    figure = -figure if negative else figure
                    self._low[key] = min(self._low.get(key, figure), figure)
                    self._high[key] = max(self._high.get(key, figure), figure)

    def _summary(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {"looks": self._looks} if self._looks else {}
        for kind, name in (("freq:", "freq_hz"), ("limit:", "limit_hz")):
            keys = [key for key in self._low if key.startswith(kind) and self._high[key] > 0]
            if keys:
                worst = min(keys, key=lambda key: self._low[key] / float(self._high[key]))
                found["low_" + name] = self._low[worst] * 1000
                found["high_" + name] = self._high[worst] * 1000
        cooling = [high for key, high in self._high.items() if key.startswith("cool:")]
        if cooling:
            found["max_cooling"] = max(0, max(cooling))
        heat = [
            high / 1000.0
            for key, high in self._high.items()
            if key.startswith("temp:") and -100000 < high < 250000
        ]
        if heat:
            found["max_temp_c"] = max(heat)
        if any(key.startswith("alarm:") for key in self._high):
            alarms = [high for key, high in self._high.items() if key.startswith("alarm:")]
            found["under_voltage"] = max(alarms) > 0
        if "bits" in self._handles or self._bits:
            found["throttled_bits"] = self._bits
        return found


def _hexadecimal(text: str) -> int:
    digits = text[2:] if text.lower().startswith("0x") else text
    if not digits or len(digits) > 8 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        return 0
    return int(digits, 16)
