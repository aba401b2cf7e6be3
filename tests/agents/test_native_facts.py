"""What a native agent's host makes of the texts that a device sends."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_world import NativeTarget

from lwprof.agents import Agent, LocalTarget
from lwprof.agents.messages import Facts, Snapshot
from lwprof.agents.native import rawfacts
from lwprof.agents.native.asking import collect, snapshot
from lwprof.agents.reading import read

_CPU = "/sys/devices/system/cpu"
PIXEL = {
    "/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"
    "CPU part\t: 0xd44\n",
    "/proc/meminfo": "MemTotal:        7785108 kB\n",
    f"{_CPU}/online": "0-7\n",
    **{f"{_CPU}/cpu{n}/cpu_capacity": "124\n" for n in range(4)},
    **{f"{_CPU}/cpu{n}/cpu_capacity": "427\n" for n in (4, 5)},
    **{f"{_CPU}/cpu{n}/cpu_capacity": "1024\n" for n in (6, 7)},
    **{f"{_CPU}/cpu{n}/cpufreq/cpuinfo_max_freq": "2802000\n" for n in (6, 7)},
    **{f"{_CPU}/cpu{n}/cpufreq/scaling_governor": "sched_pixel\n" for n in range(8)},
}
PROPERTIES = {"ro.product.manufacturer": "Google", "ro.product.model": "Pixel 6",
              "ro.build.version.release": "14", "ro.serialno": "0A041FDD40"}  # fmt: skip
TOLD = {"machine": "aarch64", "kernel": "5.10", "hostname": "localhost", "page_bytes": 4096,
        "allowed_cpus": list(range(8))}  # fmt: skip


def test_a_phones_clusters_come_fastest_first() -> None:
    found = read({**rawfacts.facts(TOLD, PIXEL, PROPERTIES), "runtimes": {}}, Facts, "pixel")
    assert [cluster.cpus for cluster in found.clusters] == [[6, 7], [4, 5], [0, 1, 2, 3]]
    assert found.clusters[0].max_freq_hz == 2_802_000_000
    assert found.fastest_cpus == [6, 7]
    assert (found.model, found.os) == ("Google Pixel 6", "Android 14")
    assert found.memory_bytes == 7785108 * 1024
    assert found.environment == "hardware"
    assert found.governors == ["sched_pixel"]
    assert "0A041FDD40" not in str(found)  # a serial number never leaves the device


@pytest.mark.parametrize(
    ("files", "properties", "expected"),
    [
        ({"/proc/cpuinfo": "vendor_id\t: GenuineIntel\n"}, {}, "emulated"),
        ({"/proc/self/task/7/maps": "00 r-x /usr/bin/qemu-aarch64-static\n"}, {}, "emulated"),
        ({}, {"ro.boot.qemu": "1"}, "virtual"),
        ({}, {}, "hardware"),
    ],
)
def test_stand_ins_are_known_as_such(
    files: dict[str, str], properties: dict[str, str], expected: str
) -> None:
    found = rawfacts.facts(TOLD, {**PIXEL, **files}, properties)
    assert found["environment"] == expected


def test_a_snapshot_leaves_out_what_is_unknown_or_wrong() -> None:
    thermal = "/sys/class/thermal"
    files = {
        "/proc/loadavg": "0.10 0.20 0.30 1/2 3\n",
        "/proc/vmstat": "pswpin 5\npswpout x\npgmajfault 7\n",
        f"{_CPU}/cpu0/cpufreq/scaling_cur_freq": "1803000\n",
        f"{_CPU}/cpu1/cpufreq/scaling_cur_freq": "<unsupported>\n",
        f"{thermal}/thermal_zone0/temp": "41200\n",
        f"{thermal}/thermal_zone0/type": "BIG\n",
        f"{thermal}/thermal_zone1/temp": "-2147483648\n",
        f"{thermal}/cooling_device3/cur_state": "2\n",
        f"{thermal}/cooling_device3/type": "thermal-cpufreq-2\n",
    }
    found = read(rawfacts.snapshot(5, files), Snapshot, "pixel")
    assert found.load_average == [0.1, 0.2, 0.3]
    assert found.frequencies_hz == {"cpu0": 1_803_000_000}
    assert found.thermal is not None
    assert [(zone.type, zone.temp_c) for zone in found.thermal] == [("BIG", 41.2)]
    assert found.cooling == {"cooling_device3:thermal-cpufreq-2": 2}
    assert (found.swap_in_pages, found.swap_out_pages, found.major_faults) == (5, None, 7)
    assert rawfacts.snapshot(5, {}) == {"monotonic_ns": 5}


def test_both_agents_see_the_same_machine(tmp_path: Path) -> None:
    with NativeTarget(tmp_path, "x86_64") as target:
        ours = collect(target, None)
        now = snapshot(target)
    with LocalTarget(workdir=tmp_path) as local, Agent(local) as agent:
        theirs = agent.facts().to_json()
    for key in ("cores", "clusters", "memory_bytes", "boot_id", "cpu", "machine", "page_bytes"):
        assert ours.get(key) == theirs.get(key), key
    assert read(now, Snapshot, "host").monotonic_ns > 0
