"""Checks of everything a measurement needs on this machine, each with how to mend it.

Pure but for reading files below a root: versions, free space and the clock's resolution are
facts that the caller found out; the two readings of /proc/stat are a waiting function apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.device_profiles import heat, load
from lwprof.device_profiles.check import Check
from lwprof.device_profiles.host import Sysroot, environment, meminfo
from lwprof.units import format_quantity

_MIB, _GIB = 2**20, 2**30
_OLDEST_ORT = (1, 22)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the files below the root do not tell.

    Attributes:
        versions: distribution → installed version, None when it is absent.
        clock_resolution_s: of the monotonic clock.
        disk_free_bytes: where the store is, None when that is not known.
        disk_path: that place.
    """

    versions: Mapping[str, str | None]
    clock_resolution_s: float
    disk_free_bytes: int | None
    disk_path: str = "the store"


def examine(system: Sysroot, facts: HostFacts, wait: Callable[[], None]) -> list[Check]:
    """All checks of this machine, in the order in which to mend what they found.

    Args:
        system: where /proc and /sys are.
        facts: as above.
        wait: lets time pass between the two readings of the processors' load.
    """
    busy = load.measure(system, wait)
    return [
        _onnxruntime(facts.versions),
        _tvm(facts.versions),
        _disk(facts),
        _clock(system, facts.clock_resolution_s),
        _environment(system),
        heat.governor(system),
        heat.turbo(system),
        heat.thermal(system),
        load.competing(busy),
        load.steal(busy),
        load.quota(system),
        _memory(system),
        _swap(system),
        _energy(system),
        _perf(system),
    ]


def blocks_measuring(checks: list[Check]) -> bool:
    """Whether nothing can be measured before something is mended."""
    return any(check.status == "fail" for check in checks)


def _onnxruntime(versions: Mapping[str, str | None]) -> Check:
    name = "ONNX Runtime"
    # The GPU builds carry other distribution names for the same module.
    builds = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
    found = next(((b, v) for b in builds if (v := versions.get(b))), None)
    if found is None:
        return Check(name, "fail", "not installed", "pip install onnxruntime")
    build, version = found
    text = version if build == "onnxruntime" else f"{version} ({build})"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_ORT:
        wanted = ".".join(map(str, _OLDEST_ORT))
        return Check(name, "warn", f"{text}, older than {wanted}", f"pip install --upgrade {build}")
    return Check(name, "ok", text)


def _tvm(versions: Mapping[str, str | None]) -> Check:
    version = versions.get("apache-tvm")
    if version is None:
        return Check("TVM", "warn", "not installed; only --runtime tvm needs it",
                     "pip install 'lwprof[tvm]'")  # fmt: skip
    return Check("TVM", "ok", version)


def _disk(facts: HostFacts) -> Check:
    name, free = "disk", facts.disk_free_bytes
    if free is None:
        return Check(name, "warn", f"free space at {facts.disk_path} is unknown",
                     "check that the folder of the store exists")  # fmt: skip
    text = f"{format_quantity(free, 'B')} free at {facts.disk_path}"
    advice = "free some disk, or keep the store elsewhere with --store or LWPROF_STORE"
    if free < 100 * _MIB:
        return Check(name, "fail", text, advice)
    return Check(name, "warn", text, advice) if free < _GIB else Check(name, "ok", text)


def _clock(system: Sysroot, resolution_s: float) -> Check:
    source = system.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    text = f"resolution {format_quantity(resolution_s, 's', 1)}"
    if source:
        text += f", source {source}"
    if resolution_s > 1e-4:
        return Check("clock", "fail", text, "measure on a system with a high-resolution clock")
    if resolution_s > 1e-6 or source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies"):
        return Check("clock", "warn", f"{text}: slow to read",
                     "boot with clocksource=tsc, if the kernel trusts it")  # fmt: skip
    return Check("clock", "ok", text)


def _environment(system: Sysroot) -> Check:
    kind = environment(system)
    if kind == "hardware":
        return Check("environment", "ok", kind)
    return Check("environment", "warn", f"{kind}: every number is marked so",
                 "measure on the machine itself where numbers must hold for it")  # fmt: skip


def _memory(system: Sysroot) -> Check:
    available = meminfo(system).get("MemAvailable")
    if available is None:
        return Check("memory", "warn", "unknown", "check that /proc is mounted")
    text = f"{format_quantity(available, 'B')} available"
    if available < _GIB:
        return Check("memory", "warn", text, "close other programs: large models will swap or die")
    return Check("memory", "ok", text)


def _swap(system: Sysroot) -> Check:
    memory = meminfo(system)
    used = memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)
    if used > 16 * _MIB:
        return Check("swap", "warn", f"{format_quantity(used, 'B')} in use",
                     "close other programs, then sudo swapoff -a && sudo swapon -a")  # fmt: skip
    return Check("swap", "ok", "not in use" if memory.get("SwapTotal") else "none")


def _energy(system: Sysroot) -> Check:
    rapl = system.glob("/sys/class/powercap/intel-rapl:*/energy_uj")
    readable = [path for path in rapl if system.integer(path) is not None]
    if readable:
        return Check("energy sensor", "ok", f"RAPL, {len(readable)} domains")
    if rapl:
        return Check("energy sensor", "warn", "RAPL is there but only root may read it",
                     "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj")  # fmt: skip
    chips = [system.text(path) or "" for path in system.glob("/sys/class/hwmon/hwmon*/name")]
    meters = sorted({chip for chip in chips if chip.startswith(("ina2", "ina3", "amd_energy"))})
    if meters:
        return Check("energy sensor", "ok", ", ".join(meters))
    return Check("energy sensor", "warn", "none: energy stays unknown, latency is unaffected",
                 "attach a power meter if you need energy")  # fmt: skip


def _perf(system: Sysroot) -> Check:
    level = system.integer("/proc/sys/kernel/perf_event_paranoid")
    if level is None:
        return Check("perf counters", "warn", "not available; only counters need them",
                     "nothing, unless you want hardware counters")  # fmt: skip
    if level > 2:
        return Check("perf counters", "warn", f"forbidden (perf_event_paranoid {level})",
                     "sudo sysctl kernel.perf_event_paranoid=2, if you want counters")  # fmt: skip
    return Check("perf counters", "ok", f"perf_event_paranoid {level}")


def report(checks: list[Check]) -> dict[str, Any]:
    """The checks as JSON, with whether something blocks measuring."""
    return {"ready": not blocks_measuring(checks), "checks": [check.to_json() for check in checks]}
