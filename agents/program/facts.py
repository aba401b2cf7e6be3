"""What this device is: board, processors, memory, system, and whether it is real."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

from . import environment
from .system import count, cpu_list, find, place, read_count, read_int, read_text, sysroot

_CPU = "/sys/devices/system/cpu"
_COMMAND_S = 5.0
_VIRTUAL_VENDORS = (
    "qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "amazon ec2", "google",
    "parallels", "openstack", "bhyve", "firecracker", "cloud hypervisor", "hyper-v",
    "virtual machine", "alibaba cloud", "digitalocean", "hetzner", "droplet",
)  # fmt: skip


def collect() -> Dict[str, Any]:
    """Facts that are known; what a device does not tell is absent."""
    identity, source = _hardware_id()
    found: Dict[str, Any] = {
        "model": _model(),
        "cpu": _cpu_name(),
        "machine": platform.machine(),
        "cores": len(_online()),
        "physical_cores": _physical_cores(),
        "allowed_cpus": sorted(os.sched_getaffinity(0)),
        "cpu_quota": _cpu_quota(),
        "clusters": _clusters(),
        "cpu_features": _features(),
        "memory_bytes": _memory_bytes(),
        "os": _os_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hardware_id": identity,
        "hardware_id_source": source,
        "boot_id": environment.boot_id(),
        "environment": _environment(),
        "hypervisor": _hypervisor(),
        "container": _container(),
        "governors": sorted(set((environment.snapshot().get("governors") or {}).values())) or None,
        "power_mode": _power_mode(),
        "sysroot": sysroot() or None,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "hostname": platform.node() or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _model() -> Optional[str]:
    for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        text = read_text(path)
        if text:
            return text.splitlines()[0]
    parts = [read_text("/sys/class/dmi/id/" + name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or None


def _cpu_info() -> Dict[str, str]:
    found: Dict[str, str] = {}
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _cpu_name() -> Optional[str]:
    info = _cpu_info()
    if info.get("model name"):
        return info["model name"]
    if "CPU part" in info:
        return "implementer %s part %s" % (info.get("CPU implementer", "?"), info["CPU part"])
    return platform.processor() or None


def _features() -> Optional[List[str]]:
    info = _cpu_info()
    return sorted((info.get("flags") or info.get("Features") or "").split()) or None


def _online() -> List[int]:
    return cpu_list(read_text(_CPU + "/online")) or sorted(os.sched_getaffinity(0))


def _physical_cores() -> Optional[int]:
    siblings = {
        read_text("%s/cpu%d/topology/thread_siblings_list" % (_CPU, cpu)) for cpu in _online()
    }
    return None if None in siblings else len(siblings)


def _clusters() -> List[Dict[str, Any]]:
    """Processors of equal capacity and maximal frequency, the fastest cluster first."""
    groups: Dict[Tuple[int, int], List[int]] = {}
    for cpu in _online():
        capacity = read_count("%s/cpu%d/cpu_capacity" % (_CPU, cpu)) or 0
        kilohertz = _kilohertz(cpu)
        groups.setdefault((capacity, kilohertz), []).append(cpu)
    clusters = []
    for (capacity, kilohertz), cpus in sorted(groups.items(), reverse=True):
        cluster: Dict[str, Any] = {"cpus": cpus}
        cluster["first_of_core"] = _first_of_core(cpus)
        cluster["cores"] = len(cluster["first_of_core"])
        if kilohertz:
            cluster["max_freq_hz"] = kilohertz * 1000
        if capacity:
            cluster["capacity"] = capacity
        clusters.append(cluster)
    return clusters


def _kilohertz(cpu: int) -> int:
    figure = read_count("%s/cpu%d/cpufreq/cpuinfo_max_freq" % (_CPU, cpu))
    return figure if figure is not None and figure < 10**9 else 0


def _first_of_core(cpus: List[int]) -> List[int]:
    """The first hardware thread of each core among ``cpus``."""
    first: Dict[str, int] = {}
    for cpu in cpus:
        siblings = read_text("%s/cpu%d/topology/thread_siblings_list" % (_CPU, cpu))
        first.setdefault(siblings or str(cpu), cpu)
    return sorted(first.values())


def _cpu_quota() -> Optional[float]:
    """Processors that the control group allows, where it limits them."""
    text = read_text("/sys/fs/cgroup/cpu.max")
    fields = (text or "").split()
    quota, period = (count(field) for field in fields) if len(fields) == 2 else (None, None)
    if not quota or not period:
        quota = read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if not quota or not period or quota < 0 or period < 0 or quota > 65536 * period:
        return None
    return quota / period


def _memory_bytes() -> Optional[int]:
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            fields = line.split()
            kilobytes = count(fields[1]) if len(fields) > 1 else None
            return None if kilobytes is None or kilobytes > 2**50 else kilobytes * 1024
    return None


def _os_name() -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("PRETTY_NAME="):
                        return line.split("=", 1)[1].strip().strip("\"'")
        except OSError:
            continue
    return "%s %s" % (platform.system(), platform.release())


def _hardware_id() -> Tuple[Optional[str], Optional[str]]:
    """A digest that stays the same for this unit, and what it was made from."""
    sources = (
        "/proc/device-tree/serial-number",
        "/sys/firmware/devicetree/base/serial-number",
        "/sys/class/dmi/id/product_uuid",
    )
    for path in sources:
        text = read_text(path)
        if text:
            return _digest(text), path.rsplit("/", 1)[1]
    serial = _cpu_info().get("Serial", "").lstrip("0")
    if serial:
        return _digest(serial), "cpuinfo"
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text and text != "uninitialized":
            return _digest(text), "machine-id"
    named = "%s|%s|%s" % (platform.node(), _cpu_name(), _memory_bytes())
    return _digest(named), "hostname"


def _digest(text: str) -> str:
    # Hashed, so that a serial number never leaves the device.
    return hashlib.sha256(("lwprof:" + text.strip()).encode()).hexdigest()[:32]


def _hypervisor() -> Optional[str]:
    info = _cpu_info()
    if "hypervisor" in info.get("flags", "").split():
        return read_text("/sys/hypervisor/type") or (_model() or "unknown")
    if read_text("/sys/hypervisor/type"):
        return read_text("/sys/hypervisor/type")
    if find("/proc/device-tree/hypervisor"):
        return "device-tree"
    board = (_model() or "").lower()
    return next((vendor for vendor in _VIRTUAL_VENDORS if vendor in board), None)


def _environment() -> str:
    """``synthetic`` (a fake tree), ``emulated``, ``virtual`` or ``hardware``."""
    if sysroot():
        return "synthetic"
    if _emulated():
        return "emulated"
    return "virtual" if _hypervisor() else "hardware"


def _emulated() -> bool:
    """True under user-mode emulation, where the processor described is of another kind."""
    machine = platform.machine()
    info = _cpu_info()
    arm, intel = machine.startswith(("aarch64", "arm")), machine in ("x86_64", "i686", "i386")
    if arm and ("vendor_id" in info or "flags" in info):
        return True
    if intel and "CPU implementer" in info:
        return True
    # An emulator rewrites /proc/self/maps, but not this other name of the same file.
    return "/qemu-" in (read_text("/proc/self/task/%d/maps" % os.getpid()) or "")


def _container() -> Optional[str]:
    if os.path.exists("/.dockerenv"):
        return "docker"
    if os.path.exists("/run/.containerenv"):
        return "podman"
    groups = read_text("/proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc", "podman") if name in groups), None)


def _power_mode() -> Optional[str]:
    """A Jetson's power mode by name, where nvpmodel tells it."""
    text = None
    if sysroot():
        try:
            with open(place("/run/nvpmodel"), encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            return None
    elif shutil.which("nvpmodel"):
        try:
            done = subprocess.run(
                ["nvpmodel", "-q"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_COMMAND_S,
                check=False,
            )
            text = done.stdout.decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError):
            return None
    for line in (text or "").splitlines():
        if "Power Mode:" in line:
            return line.split("Power Mode:", 1)[1].strip() or None
    return None


def interpreter() -> str:
    """Version of the Python that runs this program."""
    return "%d.%d.%d" % sys.version_info[:3]
