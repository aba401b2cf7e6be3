"""From the raw files of /proc and /sys that a native agent sends to facts and snapshots.

The device sends texts, this side interprets them, so that the program there stays small.
What a device does not tell is left out, never 0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from lwprof.agents.program.system import count, cpu_list

_CPU = "/sys/devices/system/cpu"
_THERMAL = "/sys/class/thermal"
#: What facts are made from.
FACT_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/kernel/random/boot_id",
    "/proc/device-tree/model", "/sys/firmware/devicetree/base/model",
    "/proc/device-tree/serial-number", "/sys/firmware/devicetree/base/serial-number",
    f"{_CPU}/online", f"{_CPU}/cpu[0-9]*/cpu_capacity",
    f"{_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq", f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor",
    f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list",
)  # fmt: skip
#: What a snapshot is made from.
SNAPSHOT_FILES = (
    "/proc/loadavg", "/proc/vmstat", f"{_CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq",
    f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor", f"{_CPU}/cpu[0-9]*/cpufreq/stats/total_trans",
    f"{_THERMAL}/thermal_zone*/temp", f"{_THERMAL}/thermal_zone*/type",
    f"{_THERMAL}/cooling_device*/cur_state", f"{_THERMAL}/cooling_device*/type",
)  # fmt: skip
_VMSTAT = {"pswpin": "swap_in_pages", "pswpout": "swap_out_pages", "oom_kill": "oom_kills",
           "pgmajfault": "major_faults"}  # fmt: skip
_LOAD = re.compile(r"\d{1,7}\.\d{1,3}")

Files = Mapping[str, str]


def facts(told: Mapping[str, Any], files: Files, properties: Mapping[str, str]) -> dict[str, Any]:
    """What a device is, as ``messages.Facts`` has it, short of its runtimes.

    Args:
        told: the native agent's ``facts``.
        files: texts of ``FACT_FILES``, and of the maps of the agent's process.
        properties: Android's, from ``getprop``; empty elsewhere.
    """
    machine = str(told.get("machine", ""))
    info = _cpu_info(files)
    online = cpu_list(files.get(f"{_CPU}/online")) or list(told["allowed_cpus"])
    identity, source = _identity(files, properties, info, told)
    governors = sorted({t.strip() for p, t in files.items() if p.endswith("scaling_governor")})
    found: dict[str, Any] = {
        "model": _model(files, properties),
        "cpu": info.get("model name") or _part(info),
        "machine": machine,
        "cores": max(1, len(online)),
        "physical_cores": _physical(files, online),
        "allowed_cpus": told["allowed_cpus"],
        "clusters": _clusters(files, online),
        "cpu_features": (info.get("flags") or info.get("Features") or "").split(),
        "memory_bytes": _memory(files),
        "os": _system(properties),
        "kernel": told.get("kernel", ""),
        "python": "",
        "hardware_id": identity,
        "hardware_id_source": source,
        "boot_id": (files.get("/proc/sys/kernel/random/boot_id") or "").strip() or None,
        "environment": environment(machine, info, files, properties),
        "governors": governors,
        "page_bytes": told.get("page_bytes"),
        "hostname": told.get("hostname"),
    }
    return {key: value for key, value in found.items() if value is not None}


def snapshot(monotonic_ns: int, files: Files) -> dict[str, Any]:
    """The state of a device, as ``messages.Snapshot`` has it."""
    loads = (files.get("/proc/loadavg") or "").split()[:3]
    proper = len(loads) == 3 and all(_LOAD.fullmatch(load) for load in loads)
    found: dict[str, Any] = {
        "monotonic_ns": monotonic_ns,
        "load_average": [float(load) for load in loads] if proper else None,
        "frequencies_hz": {
            cpu: kilohertz * 1000
            for cpu, kilohertz in _counts(files, "scaling_cur_freq").items()
            if kilohertz < 10**9
        },
        "governors": {
            p.split("/")[5]: t.strip() for p, t in files.items() if p.endswith("scaling_governor")
        },
        "thermal": _thermal(files),
        "frequency_transitions": _counts(files, "stats/total_trans"),
        "cooling": _cooling(files),
    }
    for line in (files.get("/proc/vmstat") or "").splitlines():
        key, _, text = line.partition(" ")
        if key in _VMSTAT:
            found[_VMSTAT[key]] = count(text)
    return {key: value for key, value in found.items() if value not in (None, {}, [])}


def environment(machine: str, info: Mapping[str, str], files: Files,
                properties: Mapping[str, str]) -> str:  # fmt: skip
    """``emulated`` under user-mode emulation, ``virtual`` on an emulated phone or VM."""
    arm = machine.startswith(("aarch64", "arm"))
    if arm and ("vendor_id" in info or "flags" in info):
        return "emulated"  # the processor described is of another kind
    if any(path.endswith("/maps") and "/qemu-" in text for path, text in files.items()):
        return "emulated"
    virtual = properties.get("ro.kernel.qemu") == "1" or properties.get("ro.boot.qemu") == "1"
    return "virtual" if virtual or "hypervisor" in info.get("flags", "").split() else "hardware"


def _cpu_info(files: Files) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (files.get("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _part(info: Mapping[str, str]) -> str | None:
    if "CPU part" not in info:
        return None
    return f"implementer {info.get('CPU implementer', '?')} part {info['CPU part']}"


def _model(files: Files, properties: Mapping[str, str]) -> str | None:
    named = [properties.get(f"ro.product.{key}", "") for key in ("manufacturer", "model")]
    if any(named):
        return " ".join(part for part in named if part)
    for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        text = (files.get(path) or "").replace("\0", "\n").strip()
        if text:
            return text.splitlines()[0]
    return None


def _system(properties: Mapping[str, str]) -> str:
    release = properties.get("ro.build.version.release")
    return f"Android {release}" if release else "Linux"


def _identity(files: Files, properties: Mapping[str, str], info: Mapping[str, str],
              told: Mapping[str, Any]) -> tuple[str, str]:  # fmt: skip
    """A digest that stays the same for this unit, and what it was made from."""
    for path in ("/proc/device-tree/serial-number", "/sys/firmware/devicetree/base/serial-number"):
        text = (files.get(path) or "").replace("\0", "").strip()
        if text:
            return _digest(text), "serial-number"
    if properties.get("ro.serialno"):
        return _digest(properties["ro.serialno"]), "ro.serialno"
    serial = info.get("Serial", "").lstrip("0")
    if serial:
        return _digest(serial), "cpuinfo"
    named = f"{told.get('hostname')}|{info.get('model name') or _part(info)}|{_memory(files)}"
    return _digest(named), "hostname"


def _digest(text: str) -> str:
    # As the ordinary agent does, so that both know a unit by the same id.
    return hashlib.sha256(("lwprof:" + text.strip()).encode()).hexdigest()[:32]


def _memory(files: Files) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d{1,12}) kB", files.get("/proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _counts(files: Files, name: str) -> dict[str, int]:
    found = {
        path.split("/")[5]: count(text)
        for path, text in files.items()
        if path.startswith(_CPU) and path.endswith("/" + name)
    }
    return {cpu: figure for cpu, figure in found.items() if figure is not None}


def _siblings(files: Files, cpu: int) -> str:
    text = files.get(f"{_CPU}/cpu{cpu}/topology/thread_siblings_list")
    return (text or "").strip()


def _physical(files: Files, online: list[int]) -> int | None:
    found = {_siblings(files, cpu) for cpu in online}
    return None if "" in found else len(found)


def _clusters(files: Files, online: list[int]) -> list[dict[str, Any]]:
    """Processors of equal capacity and maximal frequency, the fastest cluster first."""
    capacity, kilohertz = _counts(files, "cpu_capacity"), _counts(files, "cpuinfo_max_freq")
    groups: dict[tuple[int, int], list[int]] = {}
    for cpu in online:
        name = f"cpu{cpu}"
        groups.setdefault((capacity.get(name, 0), kilohertz.get(name, 0)), []).append(cpu)
    clusters = []
    for (able, fast), cpus in sorted(groups.items(), reverse=True):
        first = {_siblings(files, cpu) or str(cpu): cpu for cpu in reversed(cpus)}
        cluster: dict[str, Any] = {"cpus": cpus, "first_of_core": sorted(first.values()),
                                   "cores": len(first)}  # fmt: skip
        if fast:
            cluster["max_freq_hz"] = fast * 1000
        if able:
            cluster["capacity"] = able
        clusters.append(cluster)
    return clusters


def _thermal(files: Files) -> list[dict[str, Any]]:
    zones = []
    for path, text in files.items():
        if not path.startswith(f"{_THERMAL}/thermal_zone") or not path.endswith("/temp"):
            continue
        figure = re.fullmatch(r"\s*(-?\d{1,6})\s*", text)
        if figure and -100000 < int(figure[1]) < 250000:
            kind = (files.get(path[:-4] + "type") or "").strip()[:64]
            zones.append({"type": kind, "temp_c": int(figure[1]) / 1000.0})
    return zones


def _cooling(files: Files) -> dict[str, int]:
    found = {}
    for path, text in files.items():
        state = count(text) if path.endswith("/cur_state") else None
        if state is not None:
            kind = (files.get(path[:-9] + "type") or "").strip()[:64]
            found[f"{path.split('/')[4]}:{kind}"] = state
    return found
