"""What takes the processors away from a measurement: other programs, other guests, quotas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lwprof.device_profiles.check import Check
from lwprof.device_profiles.host import Sysroot

_BUSY, _VERY_BUSY, _STOLEN = 0.05, 0.25, 0.01


@dataclass(frozen=True, slots=True)
class Load:
    """Fractions of all processor time between two readings."""

    busy: float
    stolen: float


def measure(system: Sysroot, wait: Callable[[], None]) -> Load | None:
    """The load while ``wait`` ran; None where /proc/stat tells none or time stood still."""
    before = _ticks(system)
    wait()
    after = _ticks(system)
    if before is None or after is None:
        return None
    passed = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(passed)
    if total <= 0 or min(passed) < 0:
        return None
    idle, stolen = passed[3] + passed[4], passed[7]
    return Load(busy=(total - idle - stolen) / total, stolen=stolen / total)


def _ticks(system: Sysroot) -> list[int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal: ticks since boot."""
    words = (system.text("/proc/stat") or "").split("\n", 1)[0].split()
    if words[:1] != ["cpu"] or len(words) < 9 or not all(word.isdigit() for word in words[1:9]):
        return None
    return [int(word) for word in words[1:9]]


def competing(load: Load | None) -> Check:
    """Whether other programs are at work."""
    name = "competing load"
    if load is None:
        return Check(name, "warn", "unknown", "check that /proc is mounted")
    text = f"{load.busy:.0%} of the processors' time"
    if load.busy < _BUSY:
        return Check(name, "ok", text)
    advice = "end the programs that 'top' shows; blocks they touch are flagged"
    if load.busy > _VERY_BUSY:
        advice = "end the programs that 'top' shows: most blocks would be unfit"
    return Check(name, "warn", text, advice)


def steal(load: Load | None) -> Check:
    """Whether a hypervisor gives the processors to other guests."""
    name = "steal time"
    if load is None:
        return Check(name, "warn", "unknown", "check that /proc is mounted")
    text = f"{load.stolen:.1%}"
    if load.stolen < _STOLEN:
        return Check(name, "ok", text)
    return Check(name, "warn", text, "other guests take processor time: use a dedicated machine")


def quota(system: Sysroot) -> Check:
    """Whether a control group stops the process when it has used its share."""
    name = "cpu quota"
    words = (system.text("/sys/fs/cgroup/cpu.max") or "max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        cores = int(words[0]) / int(words[1])
        return Check(name, "warn", f"limited to {cores:g} cores' time, then stopped for a while",
                     f"use at most {max(1, int(cores))} threads, or lift the container's limit"
                     )  # fmt: skip
    return Check(name, "ok", "none")
