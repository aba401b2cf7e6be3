"""What this machine is, and what ails it, read from recorded-like trees of /proc and /sys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lwprof.device_profiles.check import Check
from lwprof.device_profiles.doctor import HostFacts, blocks_measuring, examine
from lwprof.device_profiles.host import Sysroot, host_profile

GIB = 2**30
CPU = "/sys/devices/system/cpu"
STAT = "cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 2 3\n"

# A quiet workstation with everything in order.
HEALTHY = {
    "/proc/stat": STAT.format(user=100, idle=1000, steal=0),
    "/proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\nSwapTotal: 1000 kB\n"
    "SwapFree: 1000 kB\n",
    "/proc/cpuinfo": "processor : 0\nmodel name\t: Sturdy CPU\nflags\t\t: fpu vme\n",
    "/proc/sys/kernel/perf_event_paranoid": "1\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0\n",
    "/sys/class/thermal/thermal_zone0/temp": "45000\n",
    "/sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "/sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
    "/sys/class/thermal/thermal_zone0/trip_point_0_temp": "95000\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/sys/class/powercap/intel-rapl:0/energy_uj": "123456\n",
    "/sys/fs/cgroup/cpu.max": "max 100000\n",
}
FACTS = HostFacts({"onnxruntime": "1.32.0", "apache-tvm": "0.27.0"}, 1e-9, 50 * GIB, "/data")


def tree(root: Path, files: Mapping[str, str | None]) -> Sysroot:
    """Writes files below a root; None leaves one of the healthy ones out."""
    for name, text in {**HEALTHY, **files}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)
    return Sysroot(root)


def passing(system: Sysroot, user: int = 0, idle: int = 200, steal: int = 0) -> Callable[[], None]:
    """Lets ticks pass instead of time."""

    def wait() -> None:
        if system.text("/proc/stat") is not None:
            text = STAT.format(user=100 + user, idle=1000 + idle, steal=steal)
            system.path("/proc/stat").write_text(text)

    return wait


def checks(
    root: Path, files: Mapping[str, str | None], facts: HostFacts = FACTS, **ticks: int
) -> dict[str, Check]:
    system = tree(root, files)
    return {check.name: check for check in examine(system, facts, passing(system, **ticks))}


def test_a_healthy_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    found = checks(tmp_path, {})
    assert {check.status for check in found.values()} == {"ok"}
    assert not any(check.advice for check in found.values())
    assert set(found) == {
        "ONNX Runtime", "TVM", "disk", "clock", "environment", "governor", "turbo", "thermal",
        "competing load", "steal time", "cpu quota", "memory", "swap", "energy sensor",
        "perf counters",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "name", "says"),
    [
        ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, "governor", "powersave (1 cpus)"),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "turbo", "on"),
        ({f"{CPU}/intel_pstate/no_turbo": None, f"{CPU}/cpufreq/boost": "1"}, "turbo", "on"),
        ({"/sys/class/thermal/thermal_zone0/temp": "91000"}, "thermal", "at 91 °C and slows down"),
        ({f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7"}, "thermal", "throttled 7 times"),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000"}, "cpu quota", "1.5 cores"),
        ({"/proc/meminfo": "MemAvailable: 500000 kB"}, "memory", "MiB available"),
        ({"/proc/meminfo": None}, "memory", "unknown"),
        (
            {"/proc/meminfo": "MemAvailable: 9000000 kB\nSwapTotal: 99000 kB\nSwapFree: 9000 kB"},
            "swap",
            "in use",
        ),
        ({"/sys/class/powercap/intel-rapl:0/energy_uj": None}, "energy sensor", "none"),
        ({"/proc/sys/kernel/perf_event_paranoid": "4"}, "perf counters", "paranoid 4"),
        ({"/proc/sys/kernel/perf_event_paranoid": None}, "perf counters", "not available"),
        (
            {"/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"},
            "clock",
            "hpet",
        ),
        ({"/proc/cpuinfo": "model name : X\nflags : hypervisor"}, "environment", "virtual"),
        ({"/proc/stat": None}, "competing load", "unknown"),
        ({"/proc/stat": "cpu 1 2\n"}, "steal time", "unknown"),
    ],
)
def test_each_ailment_is_found_and_told_how_to_mend(
    tmp_path: Path, files: Mapping[str, str | None], name: str, says: str
) -> None:
    found = checks(tmp_path, files)
    assert found[name].status == "warn"
    assert says in found[name].found
    assert found[name].advice
    assert not blocks_measuring(list(found.values()))


def test_load_and_steal_are_fractions_of_what_passed(tmp_path: Path) -> None:
    found = checks(tmp_path, {}, user=50, idle=130, steal=20)
    assert found["competing load"].found.startswith("25%")
    assert found["steal time"].found == "10.0%"
    assert {found["competing load"].status, found["steal time"].status} == {"warn"}


@pytest.mark.parametrize(
    ("facts", "name", "advice"),
    [
        (HostFacts({}, 1e-9, 50 * GIB), "ONNX Runtime", "pip install onnxruntime"),
        (HostFacts({"onnxruntime": "1.32"}, 1e-9, 10 * 2**20), "disk", "free some disk"),
        (HostFacts({"onnxruntime": "1.32"}, 1e-2, 50 * GIB), "clock", "high-resolution"),
    ],
)
def test_what_blocks_measuring_fails(
    tmp_path: Path, facts: HostFacts, name: str, advice: str
) -> None:
    found = checks(tmp_path, {}, facts)
    assert found[name].status == "fail" and advice in found[name].advice
    assert blocks_measuring(list(found.values()))


@pytest.mark.parametrize(
    ("versions", "status", "says"),
    [
        ({"onnxruntime-gpu": "1.30.1"}, "ok", "1.30.1 (onnxruntime-gpu)"),
        ({"onnxruntime": "1.9.0"}, "warn", "older than 1.22"),
        ({"onnxruntime": "1.100.0"}, "ok", "1.100.0"),
    ],
)
def test_versions_of_the_runtime(
    tmp_path: Path, versions: dict[str, str | None], status: str, says: str
) -> None:
    check = checks(tmp_path, {}, HostFacts(versions, 1e-9, None))["ONNX Runtime"]
    assert check.status == status and says in check.found


def test_an_empty_tree_is_examined_without_failing(tmp_path: Path) -> None:
    found = examine(Sysroot(tmp_path), FACTS, lambda: None)
    assert "fail" not in {check.status for check in found}


def test_dead_thermal_zones_are_not_believed(tmp_path: Path) -> None:
    found = checks(tmp_path, {"/sys/class/thermal/thermal_zone0/temp": "-274000"})
    assert found["thermal"].found == "no sensor visible"


def test_clusters_are_told_apart_and_ordered_by_speed(tmp_path: Path) -> None:
    files = {}
    for cpu in range(8):
        khz, capacity = (2400000, 1024) if cpu >= 6 else (1800000, 420)
        files[f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq"] = f"{khz}\n"
        files[f"{CPU}/cpu{cpu}/cpu_capacity"] = f"{capacity}\n"
    profile = host_profile(tree(tmp_path, files), usable=range(8))
    big, little = profile.clusters
    assert (big.name, big.cpus, big.max_freq_hz) == ("big", (6, 7), 2.4e9)
    assert (little.name, little.count) == ("little", 6)
    assert profile.fastest_cluster == big
    # A container that may use none of the big cores has only the little ones.
    (only,) = host_profile(Sysroot(tmp_path), usable=[1, 2]).clusters
    assert (only.name, only.cpus) == ("all", (1, 2))


@pytest.mark.parametrize(
    ("files", "environment"),
    [
        ({}, "hardware"),
        ({"/proc/cpuinfo": "flags : fpu hypervisor"}, "virtual"),
        ({"/sys/class/dmi/id/product_name": "VMware7,1"}, "virtual"),
        ({"/sys/class/dmi/id/sys_vendor": "QEMU"}, "emulated"),
        ({"/proc/device-tree/model": "linux,dummy-virt QEMU\x00"}, "emulated"),
        (
            {"/proc/cpuinfo": "flags : hypervisor", "/sys/class/dmi/id/sys_vendor": "QEMU"},
            "virtual",
        ),
    ],
)
def test_a_stand_in_never_passes_for_hardware(
    tmp_path: Path, files: Mapping[str, str], environment: str
) -> None:
    assert host_profile(tree(tmp_path, files), usable=[0]).environment == environment


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    system = tree(tmp_path, {})
    assert host_profile(system, usable=[0]).memory_bytes == 16_000_000 * 1024
    tree(tmp_path, {"/sys/fs/cgroup/memory.max": f"{4 * GIB}\n"})
    assert host_profile(system, usable=[0]).memory_bytes == 4 * GIB
    assert host_profile(system, usable=[0]).title == "Sturdy CPU"
