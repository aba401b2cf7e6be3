"""What changes the clock under a measurement: governors, turbo, heat."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from lwprof.device_profiles.check import Check
from lwprof.device_profiles.host import Sysroot

_CPUS = "/sys/devices/system/cpu"
_STEADY = ("performance", "userspace")
_NEAR_C = 5.0  # so close to a passive trip point, a load will reach it


def governor(system: Sysroot) -> Check:
    """Whether the CPUs keep their clock when the load changes."""
    name = "governor"
    paths = system.glob(f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_governor")
    found = Counter(system.text(path) or "unknown" for path in paths)
    if not found:
        return Check(name, "ok", "not visible: the clock is not managed from here")
    text = ", ".join(f"{kind} ({count} cpus)" for kind, count in sorted(found.items()))
    if all(kind in _STEADY for kind in found):
        return Check(name, "ok", text)
    return Check(name, "warn", f"{text}: the clock follows the load",
                 "sudo cpupower frequency-set -g performance")  # fmt: skip


def turbo(system: Sysroot) -> Check:
    """Whether the clock depends on heat and on how many cores work."""
    name = "turbo"
    off = system.integer(f"{_CPUS}/intel_pstate/no_turbo")
    if off is not None:
        switch = f"echo 1 | sudo tee {_CPUS}/intel_pstate/no_turbo"
        return _turbo(off == 0, switch)
    boost = system.integer(f"{_CPUS}/cpufreq/boost")
    if boost is not None:
        return _turbo(boost == 1, f"echo 0 | sudo tee {_CPUS}/cpufreq/boost")
    return Check(name, "ok", "none visible")


def _turbo(on: bool, switch: str) -> Check:
    if not on:
        return Check("turbo", "ok", "off")
    return Check("turbo", "warn", "on: the clock varies with heat and load", switch)


def thermal(system: Sysroot) -> Check:
    """Whether a zone is near the temperature at which the machine slows itself down."""
    name = "thermal"
    throttled = sum(
        system.integer(path) or 0
        for path in system.glob(f"{_CPUS}/cpu[0-9]*/thermal_throttle/core_throttle_count")
    )
    hottest: tuple[float, str] | None = None
    for zone in system.glob("/sys/class/thermal/thermal_zone*"):
        millidegrees = system.integer(f"{zone}/temp")
        # Dead zones read as -273 or absurdly hot.
        if millidegrees is None or not -40_000 < millidegrees < 150_000:
            continue
        temp_c = millidegrees / 1000
        kind = system.text(f"{zone}/type") or PurePosixPath(zone).name
        limit = _passive_trip_c(system, zone)
        if limit is not None and temp_c > limit - _NEAR_C:
            return Check(name, "warn", f"{kind} is at {temp_c:.0f} °C and slows down at "
                         f"{limit:.0f} °C", "let it cool down, or cool it better")  # fmt: skip
        hottest = max(hottest or (temp_c, kind), (temp_c, kind))
    text = f"hottest: {hottest[1]} at {hottest[0]:.0f} °C" if hottest else "no sensor visible"
    if throttled:
        return Check(name, "warn", f"{text}; throttled {throttled} times since boot",
                     "cool it better; blocks that throttling touches are flagged")  # fmt: skip
    return Check(name, "ok", text)


def _passive_trip_c(system: Sysroot, zone: str) -> float | None:
    trips = []
    for path in system.glob(f"{zone}/trip_point_*_type"):
        if system.text(path) == "passive":
            millidegrees = system.integer(path.replace("_type", "_temp"))
            if millidegrees is not None and millidegrees > 0:
                trips.append(millidegrees / 1000)
    return min(trips, default=None)
