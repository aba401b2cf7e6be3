"""What this machine is, read from /proc and /sys (under any root, so that tests can feed trees)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lwprof.device_profiles.boards import load_profile
from lwprof.device_profiles.profile import Cluster, Environment, Profile

# Models that a hypervisor's firmware tells; device trees of emulators say so as well.
_EMULATED = ("qemu", "tcg", "fvp")


@dataclass(frozen=True, slots=True)
class Sysroot:
    """Reads small files below a root folder; whatever is absent or unreadable is None."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """The place of an absolute path below the root."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A file's text without surrounding blanks and NULs, at most 1 MiB of it."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(2**20).decode("utf-8", "replace").strip(" \n\t\x00")
        except OSError:
            return None

    def integer(self, name: str) -> int | None:
        """The whole number in a file."""
        try:
            return int(self.text(name) or "")
        except ValueError:
            return None

    def glob(self, pattern: str) -> list[str]:
        """Absolute paths (below the root) that match, in natural order."""
        try:
            found = [f"/{p.relative_to(self.root)}" for p in self.root.glob(pattern.lstrip("/"))]
        except OSError:
            return []
        return sorted(found, key=_natural)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(p) if p.isdigit() else -1, p) for p in re.split(r"(\d+)", text)]


def host_profile(system: Sysroot | None = None, *, usable: Iterable[int] | None = None) -> Profile:
    """The profile of this machine with its cores, memory and environment filled in.

    Args:
        system: where /proc and /sys are.
        usable: CPUs that this process may run on; those of the present process by default
            (a container often has fewer than the machine).
    """
    system = system or Sysroot()
    cpus = sorted(os.sched_getaffinity(0) if usable is None else usable)
    return msgspec.structs.replace(
        load_profile("host"),
        title=model_name(system) or "This machine",
        environment=environment(system),
        clusters=clusters(system, cpus),
        memory_bytes=memory_bytes(system),
    )


def clusters(system: Sysroot, cpus: Iterable[int]) -> tuple[Cluster, ...]:
    """The CPUs grouped by what tells cores apart, the fastest group first.

    Cores belong together when they have the same highest clock and, where the kernel tells
    it, the same capacity. Threads of one core are separate CPUs here, as the kernel has them.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for cpu in cpus:
        base = f"/sys/devices/system/cpu/cpu{cpu}"
        capacity = system.integer(f"{base}/cpu_capacity") or 0
        freq_khz = system.integer(f"{base}/cpufreq/cpuinfo_max_freq") or 0
        groups.setdefault((capacity, freq_khz), []).append(cpu)
    ordered = sorted(groups.items(), reverse=True)
    names = ("all",) if len(ordered) == 1 else ("big", "little") if len(ordered) == 2 else ()
    return tuple(
        Cluster(
            name=names[place] if names else f"cluster{place}",
            count=len(members),
            max_freq_hz=freq_khz * 1e3 if freq_khz else None,
            cpus=tuple(members),
        )
        for place, ((_, freq_khz), members) in enumerate(ordered)
    )


def memory_bytes(system: Sysroot) -> int | None:
    """Memory of the machine, or of the control group where that is less."""
    total = meminfo(system).get("MemTotal")
    limit = system.integer("/sys/fs/cgroup/memory.max")
    known = [size for size in (total, limit) if size is not None]
    return min(known) if known else None


def meminfo(system: Sysroot) -> dict[str, int]:
    """/proc/meminfo in bytes, by field."""
    found = {}
    for line in (system.text("/proc/meminfo") or "").splitlines():
        match = re.fullmatch(r"(\w+(?:\(\w+\))?):\s+(\d+) kB", line.strip())
        if match:
            found[match[1]] = int(match[2]) * 1024
    return found


def model_name(system: Sysroot) -> str | None:
    """What the board or CPU calls itself."""
    tree = system.text("/proc/device-tree/model") or system.text(
        "/sys/firmware/devicetree/base/model"
    )
    if tree:
        return tree
    match = re.search(r"^model name\s*:\s*(.+)$", system.text("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def environment(system: Sysroot) -> Environment:
    """``emulated`` where the machine says so, ``virtual`` under a hypervisor, else hardware."""
    firmware = " ".join(
        system.text(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")
    ).lower()
    model = f"{model_name(system) or ''}".lower()
    flags = re.search(
        r"^flags\s*:.*\bhypervisor\b", system.text("/proc/cpuinfo") or "", re.MULTILINE
    )
    if flags or system.text("/sys/hypervisor/type"):
        return "emulated" if "tcg" in model else "virtual"
    if any(word in model or word in firmware for word in _EMULATED):
        # Firmware of QEMU without a hypervisor's flag: its CPU is translated, not run.
        return "emulated"
    return "virtual" if "virtual" in firmware or "vmware" in firmware else "hardware"
