"""What else happened on the device while a block ran.

Everything is a covariate: competing load, stolen time, frequency, heat, throttling,
swapping. The latency itself never enters here, since dropping slow samples for being
slow would bias every interval. A source that does not exist is absent, never 0.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional

from . import usage
from .system import count, find, read_count, read_int, read_text, sysroot

# Columns of /proc/stat's cpu lines; guest time is counted in user time already.
_BUSY = (0, 1, 2, 5, 6)
_STEAL = 7
_VCGENCMD_S = 2.0
_BITS = re.compile(r"(0x)?[0-9a-fA-F]{1,8}")
_LOAD = re.compile(r"\d{1,7}\.\d{1,3}")


def snapshot() -> Dict[str, Any]:
    """The state of the device now: load, clocks, heat, counters."""
    found: Dict[str, Any] = {"monotonic_ns": time.monotonic_ns()}
    if sysroot():
        found["sysroot"] = sysroot()
    optional = {
        "load_average": _load_average(),
        "frequencies_hz": _frequencies(),
        "governors": _governors(),
        "thermal": _thermal(),
        "throttle_counts": _throttle_counts(),
        "throttled_bits": _throttled_bits(),
        "frequency_transitions": _transitions(),
        "cooling": _cooling(),
        "frequency_limits_hz": _frequency_limits(),
        "fans_rpm": _fans(),
        "battery": _battery(),
    }
    found.update({key: value for key, value in optional.items() if value is not None})
    found.update(_vmstat())
    return found


def changes(before: Dict[str, Any], after: Dict[str, Any]) -> Dict[str, Any]:
    """Counters of ``after`` less those of ``before``, where both tell them."""
    out: Dict[str, Any] = {}
    for key in ("swap_in_pages", "swap_out_pages", "oom_kills", "major_faults"):
        if key in before and key in after:
            out[key] = max(0, after[key] - before[key])
    for key in ("throttle_counts", "frequency_transitions"):
        if key in before and key in after:
            out[key] = max(0, sum(after[key].values()) - sum(before[key].values()))
    if "throttled_bits" in after:
        # Bits 0-3 of the firmware are now, 16-19 since the boot.
        out["throttled_bits"] = after["throttled_bits"] & ~(0xF0000)
        since = before.get("throttled_bits", 0) & 0xF0000
        out["throttled_bits_new"] = after["throttled_bits"] & 0xF0000 & ~since
    temperatures = [zone["temp_c"] for s in (before, after) for zone in s.get("thermal", [])]
    if temperatures:
        out["max_temp_c"] = max(temperatures)
    return out


def oom_kills() -> int:
    """How often the kernel has ended a process for want of memory, here or on the device."""
    kills = _vmstat().get("oom_kills", 0)
    for line in (read_text("/sys/fs/cgroup/memory.events") or "").splitlines():
        key, _, figure = line.partition(" ")
        if key == "oom_kill":
            kills += count(figure) or 0
    return kills


class Watch:
    """Processor time over the windows in which inferences were timed.

    A window is a run of timed steps without others between. Ticks are coarse (10 ms),
    so fractions are formed over the sum of all windows.
    """

    def __init__(self, pids: List[int]) -> None:
        self._pids = pids
        self._open: Optional[Dict[str, Any]] = None
        self._totals: Dict[str, float] = {}
        self._windows = 0

    def begin(self) -> None:
        """A window begins, unless one is open."""
        if self._open is None:
            self._open = self._reading()

    def end(self) -> None:
        """The window ends, if one is open."""
        if self._open is None:
            return
        first, last = self._open, self._reading()
        self._open = None
        self._windows += 1
        for key in last:
            if key in first:
                gain = max(0.0, last[key] - first[key])
                self._totals[key] = self._totals.get(key, 0.0) + gain

    def summary(self) -> Dict[str, Any]:
        """Seconds and fractions over all windows; fractions lie between 0 and 1."""
        if not self._windows:
            return {}
        total = self._totals
        out: Dict[str, Any] = {"windows": self._windows, "window_s": total.get("wall_s", 0.0)}
        for key in ("own_s", "run_delay_s", "busy_s", "steal_s", "pressure_s"):
            if key in total:
                out[key] = total[key]
        capacity = total.get("capacity_s", 0.0)
        if capacity > 0:
            out["capacity_s"] = capacity
            others = total["busy_s"] - total.get("own_s", 0.0)
            out["competing_cpu_fraction"] = min(1.0, max(0.0, others / capacity))
            wanted = total["busy_s"] + total["steal_s"]
            out["steal_fraction"] = total["steal_s"] / wanted if wanted > 0 else 0.0
        if total.get("own_s"):
            delay = total.get("run_delay_s")
            if delay is not None:
                out["run_delay_fraction"] = delay / (delay + total["own_s"])
        return out

    def _reading(self) -> Dict[str, float]:
        found = {"wall_s": time.monotonic()}
        found.update(_processor_seconds())
        own = [usage.cpu_ns(pid) for pid in self._pids]
        if None not in own:
            found["own_s"] = sum(ns for ns in own if ns is not None) * 1e-9
        delays = [usage.run_delay_ns(pid) for pid in self._pids]
        if None not in delays:
            found["run_delay_s"] = sum(ns for ns in delays if ns is not None) * 1e-9
        pressure = _pressure_s()
        if pressure is not None:
            found["pressure_s"] = pressure
        return found


def boot_id() -> Optional[str]:
    """The identifier of the kernel's present boot."""
    return read_text("/proc/sys/kernel/random/boot_id")


def _processor_seconds() -> Dict[str, float]:
    """Busy, stolen and total seconds over all processors since the boot."""
    text = read_text("/proc/stat")
    fields = (text or "").split("\n", 1)[0].split()[1:]
    ticks = [figure for figure in map(count, fields[:8]) if figure is not None]
    if len(ticks) < 7:
        return {}
    ticks += [0] * (8 - len(ticks))
    hertz = float(os.sysconf("SC_CLK_TCK"))
    return {
        "busy_s": sum(ticks[column] for column in _BUSY) / hertz,
        "steal_s": ticks[_STEAL] / hertz,
        "capacity_s": sum(ticks) / hertz,
    }


def _pressure_s() -> Optional[float]:
    """Seconds in which some task waited for a processor (pressure stall information)."""
    for line in (read_text("/proc/pressure/cpu") or "").splitlines():
        if line.startswith("some") and "total=" in line:
            figure = count(line.rsplit("total=", 1)[1])
            return None if figure is None else figure * 1e-6
    return None


def _load_average() -> Optional[List[float]]:
    fields = (read_text("/proc/loadavg") or "").split()[:3]
    proper = len(fields) == 3 and all(_LOAD.fullmatch(field) for field in fields)
    return [float(field) for field in fields] if proper else None


def _per_cpu(name: str) -> Dict[str, str]:
    paths = find("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/" + name)
    found = {path.split("/")[5]: read_text(path) for path in paths}
    return {cpu: text[:64] for cpu, text in found.items() if text}


def _counts_per_cpu(name: str) -> Dict[str, int]:
    found = {cpu: count(text) for cpu, text in _per_cpu(name).items()}
    return {cpu: figure for cpu, figure in found.items() if figure is not None}


def _frequencies() -> Optional[Dict[str, int]]:
    kilohertz = _counts_per_cpu("scaling_cur_freq")
    return {cpu: figure * 1000 for cpu, figure in kilohertz.items() if figure < 10**9} or None


def _governors() -> Optional[Dict[str, str]]:
    return _per_cpu("scaling_governor") or None


def _transitions() -> Optional[Dict[str, int]]:
    return _counts_per_cpu("stats/total_trans") or None


def _thermal() -> Optional[List[Dict[str, Any]]]:
    zones = []
    for path in find("/sys/class/thermal/thermal_zone*"):
        millidegrees = read_int(path + "/temp")
        if millidegrees is not None and -100000 < millidegrees < 250000:
            kind = read_text(path + "/type") or ""
            zones.append({"type": kind[:64], "temp_c": millidegrees / 1000.0})
    return zones or None


def _cooling() -> Optional[Dict[str, int]]:
    """State of each cooling device that limits a processor; 0 is no limit."""
    found = {}
    for path in find("/sys/class/thermal/cooling_device*"):
        state = read_count(path + "/cur_state")
        if state is not None:
            name = (read_text(path + "/type") or "")[:64]
            found["%s:%s" % (path.rsplit("/", 1)[1], name)] = state
    return found or None


def _frequency_limits() -> Optional[Dict[str, int]]:
    """The highest clock that the kernel allows now, heat and power budgets included."""
    kilohertz = _counts_per_cpu("scaling_max_freq")
    return {cpu: figure * 1000 for cpu, figure in kilohertz.items() if figure < 10**9} or None


def _fans() -> Optional[Dict[str, int]]:
    found = {}
    for path in find("/sys/class/hwmon/hwmon*/fan*_input"):
        turns = read_count(path)
        if turns is not None and turns < 10**6:
            chip = (read_text(path.rsplit("/", 1)[0] + "/name") or "")[:64]
            found["%s:%s" % (chip, path.rsplit("/", 1)[1])] = turns
    return found or None


def _battery() -> Optional[Dict[str, Any]]:
    """Status and charge of the device's own battery."""
    for path in find("/sys/class/power_supply/*"):
        if read_text(path + "/type") == "Battery" and read_text(path + "/scope") != "Device":
            state = {
                "status": (read_text(path + "/status") or "")[:64] or None,
                "capacity_percent": read_count(path + "/capacity"),
            }
            return {key: value for key, value in state.items() if value is not None} or None
    return None


def _throttle_counts() -> Optional[Dict[str, int]]:
    found = {}
    for path in find("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"):
        times = read_count(path)
        if times is not None:
            parts = path.split("/")
            found[parts[5] + ":" + parts[7]] = times
    return found or None


def _throttled_bits() -> Optional[int]:
    """A Raspberry Pi's get_throttled: under-voltage, capped, throttled, soft limit."""
    text = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    program = None if sysroot() else shutil.which("vcgencmd")
    if text is None and program is not None:
        try:
            done = subprocess.run(
                [program, "get_throttled"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_VCGENCMD_S,
                check=False,
            )
            text = done.stdout.decode("ascii", "replace").strip().rpartition("=")[2]
        except (OSError, subprocess.SubprocessError):
            return None
    return int(text, 16) if text is not None and _BITS.fullmatch(text) else None


def _vmstat() -> Dict[str, int]:
    names = {
        "pswpin": "swap_in_pages",
        "pswpout": "swap_out_pages",
        "oom_kill": "oom_kills",
        "pgmajfault": "major_faults",
    }
    found = {}
    for line in (read_text("/proc/vmstat") or "").splitlines():
        key, _, text = line.partition(" ")
        figure = count(text) if key in names else None
        if figure is not None:
            found[names[key]] = figure
    return found
