"""Facts and environment, read from trees that look like boards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lwprof.agents import Agent, LocalTarget
from lwprof.agents.messages import Facts, Snapshot
from lwprof.agents.packing import program
from lwprof.agents.program import environment, facts, system, usage
from lwprof.agents.reading import read


def plant(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def cpu(index: int, khz: int, capacity: int | None = None, **more: str) -> dict[str, str | bytes]:
    base = f"/sys/devices/system/cpu/cpu{index}"
    files: dict[str, str | bytes] = {
        f"{base}/cpufreq/cpuinfo_max_freq": f"{khz}\n",
        f"{base}/cpufreq/scaling_cur_freq": f"{khz // 2}\n",
        f"{base}/cpufreq/scaling_governor": "ondemand\n",
        f"{base}/cpufreq/stats/total_trans": f"{100 + index}\n",
        f"{base}/topology/thread_siblings_list": f"{index}\n",
    }
    if capacity:
        files[f"{base}/cpu_capacity"] = f"{capacity}\n"
    return files | {f"{base}/{name}": text for name, text in more.items()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_SYSROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def pi4(root: Path) -> Path:
    plant(root, {
        "/proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
        "/proc/device-tree/serial-number": b"10000000abcdef01\0",
        "/proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
                         "Features\t: fp asimd\n\nHardware\t: BCM2835\nSerial\t: 1000abcd\n",
        "/proc/meminfo": "MemTotal:        3884360 kB\nMemFree: 1 kB\n",
        "/proc/loadavg": "0.10 0.20 0.30 1/100 1234\n",
        "/proc/vmstat": "pswpin 5\npswpout 7\noom_kill 0\npgmajfault 9\n",
        "/proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
        "/sys/devices/system/cpu/online": "0-3\n",
        "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "/sys/class/thermal/thermal_zone0/temp": "61342\n",
        "/sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
        "/sys/class/thermal/cooling_device0/cur_state": "1\n",
        "/sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    })  # fmt: skip
    for index in range(4):
        plant(root, cpu(index, 1800000))
    return root


def test_raspberry_pi(pi4: Path) -> None:
    found = facts.collect()
    assert found["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert found["cpu"] == "implementer 0x41 part 0xd08"
    assert found["memory_bytes"] == 3884360 * 1024
    assert found["cores"] == 4 and found["physical_cores"] == 4
    (cluster,) = found["clusters"]
    assert cluster == {"cpus": [0, 1, 2, 3], "cores": 4, "first_of_core": [0, 1, 2, 3],
                       "max_freq_hz": 1_800_000_000}  # fmt: skip
    assert found["governors"] == ["ondemand"]
    assert found["hardware_id_source"] == "serial-number"
    assert "abcdef" not in json.dumps(found)  # the serial number itself stays there
    # A tree that was put in place never passes for a board.
    assert found["environment"] == "synthetic" and found["sysroot"] == str(pi4)
    read({**found, "runtimes": {}}, Facts, "pi4")


def test_big_and_little_clusters_come_fastest_first(root: Path) -> None:
    plant(root, {"/sys/devices/system/cpu/online": "0-7\n"})
    for index in range(8):
        speed, capacity = ((1800000, 250), (2250000, 620), (2850000, 1024))[
            0 if index < 4 else 1 if index < 6 else 2
        ]
        plant(root, cpu(index, speed, capacity))
    clusters = facts.collect()["clusters"]
    assert [c["cpus"] for c in clusters] == [[6, 7], [4, 5], [0, 1, 2, 3]]
    assert [c["capacity"] for c in clusters] == [1024, 620, 250]


def test_hardware_threads_are_no_cores(root: Path) -> None:
    plant(root, {"/sys/devices/system/cpu/online": "0-3\n"})
    for index in range(4):
        siblings = {"topology/thread_siblings_list": f"{index % 2},{index % 2 + 2}\n"}
        plant(root, {**cpu(index, 3000000), **cpu(index, 3000000, **siblings)})
    found = facts.collect()
    assert found["cores"] == 4 and found["physical_cores"] == 2
    assert found["clusters"][0]["first_of_core"] == [0, 1]


def test_an_empty_tree_tells_nothing_rather_than_zero(root: Path) -> None:
    found = facts.collect()
    for absent in ("model", "memory_bytes", "boot_id", "governors", "power_mode", "physical_cores"):
        assert absent not in found
    state = environment.snapshot()
    assert set(state) == {"monotonic_ns", "sysroot"}
    assert environment.changes(state, state) == {}
    read({**found, "runtimes": {}}, Facts, "empty")
    read(state, Snapshot, "empty")


@pytest.mark.parametrize(
    "junk",
    [b"", b"\xff\xfe\x00", b"NaN\n", b"-1\n", b"1" * 400, b"9" * 18, "²".encode(), b"a b c d"],
)
def test_junk_in_every_file_is_no_crash_and_no_number(pi4: Path, junk: bytes) -> None:
    for path in pi4.rglob("*"):
        if path.is_file():
            path.write_bytes(junk)
    state = environment.snapshot()
    found = {**facts.collect(), "runtimes": {}}
    assert state.get("thermal") is None or all(-100 < z["temp_c"] < 250 for z in state["thermal"])
    read(found, Facts, "junk")
    read(state, Snapshot, "junk")


def test_snapshot_and_what_changed(pi4: Path) -> None:
    before = environment.snapshot()
    assert before["thermal"] == [{"type": "cpu-thermal", "temp_c": 61.342}]
    assert before["frequencies_hz"]["cpu2"] == 900_000_000
    assert before["cooling"] == {"cooling_device0:cpufreq-cpu0": 1}
    assert before["throttled_bits"] == 0x50000 and before["load_average"] == [0.1, 0.2, 0.3]
    plant(pi4, {
        "/proc/vmstat": "pswpin 5\npswpout 17\noom_kill 1\npgmajfault 9\n",
        "/sys/devices/system/cpu/cpu1/cpufreq/stats/total_trans": "131\n",
        "/sys/devices/platform/soc/soc:firmware/get_throttled": "d0005\n",
        "/sys/class/thermal/thermal_zone0/temp": "82000\n",
    })  # fmt: skip
    delta = environment.changes(before, environment.snapshot())
    assert delta["swap_out_pages"] == 10 and delta["swap_in_pages"] == 0
    assert delta["oom_kills"] == 1 and delta["frequency_transitions"] == 30
    assert delta["throttled_bits"] == 5  # under-voltage and throttled, now
    assert delta["throttled_bits_new"] == 0x80000  # soft limit, reached since `before`
    assert delta["max_temp_c"] == 82.0


def stat(busy: int, idle: int, steal: int) -> str:
    return f"cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 1 1 1\n"


def test_shares_of_the_processors(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    own = [0]
    monkeypatch.setattr(usage, "cpu_ns", lambda pid: own[0])
    monkeypatch.setattr(usage, "run_delay_ns", lambda pid: own[0] // 4)
    watch = environment.Watch([1])
    plant(root, {"/proc/stat": stat(100 * ticks, 500 * ticks, 3 * ticks)})
    watch.end()  # nothing is open
    watch.begin()
    watch.begin()  # it goes on
    # 4 s on 4 processors: ours used 3 s, others 2 s, 1 s was stolen, 10 s idle.
    own[0] = 3 * 10**9
    plant(root, {"/proc/stat": stat(105 * ticks, 510 * ticks, 4 * ticks)})
    watch.end()
    found = watch.summary()
    assert found["windows"] == 1 and found["capacity_s"] == pytest.approx(16.0)
    assert found["competing_cpu_fraction"] == pytest.approx(2 / 16)
    assert found["steal_fraction"] == pytest.approx(1 / 6)
    assert found["run_delay_fraction"] == pytest.approx(0.2)
    # Between windows anything may happen.
    plant(root, {"/proc/stat": stat(205 * ticks, 510 * ticks, 4 * ticks)})
    watch.begin()
    watch.end()
    again = watch.summary()
    assert again["competing_cpu_fraction"] == found["competing_cpu_fraction"]
    assert again["windows"] == 2


def test_a_worker_that_is_gone_leaves_its_share_out() -> None:
    watch = environment.Watch([2**22 + 1])
    watch.begin()
    watch.end()
    assert "own_s" not in watch.summary()
    assert environment.Watch([]).summary() == {}


def test_processor_time_of_another_process_is_read() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        while not (usage.cpu_ns(busy.pid) or 0) > 50_000_000:
            pass
        assert usage.run_delay_ns(busy.pid) is not None
        busy.kill()
    assert usage.memory()["rss_peak_bytes"] >= usage.memory()["rss_anon_bytes"]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3\n", [0, 1, 2, 3]), ("0,2-3,7", [0, 2, 3, 7]), ("", []), (None, []), ("x-y", []),
     ("0-99999999", []), ("5", [5])],
)  # fmt: skip
def test_kernel_lists_of_processors(text: str | None, cpus: list[int]) -> None:
    assert system.cpu_list(text) == cpus


def test_paths_come_in_natural_order(root: Path) -> None:
    for index in (10, 2, 1):
        plant(root, {f"/sys/class/thermal/thermal_zone{index}/type": "x"})
    found = [path.rsplit("e", 1)[1] for path in system.find("/sys/class/thermal/thermal_zone*")]
    assert found == ["1", "2", "10"]


def test_this_machine(agent: Agent) -> None:
    found = agent.facts()
    assert found.cores == len(system.cpu_list(Path("/sys/devices/system/cpu/online").read_text()))
    assert set(found.allowed_cpus) == os.sched_getaffinity(0)
    assert found.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import onnxruntime

    assert found.runtimes["onnxruntime"].version == onnxruntime.__version__
    flags = Path("/proc/cpuinfo").read_text()
    if " hypervisor " in flags:
        assert found.environment == "virtual" and found.hypervisor
    assert found is agent.facts()


def test_a_fake_tree_marks_facts_and_blocks(pi4: Path, workdir: Path) -> None:
    target = LocalTarget(workdir=workdir, env={"LWPROF_SYSROOT": str(pi4)})
    with target, Agent(target) as agent:
        assert agent.facts().environment == "synthetic"
        assert agent.facts().model == "Raspberry Pi 4 Model B Rev 1.4"
        record: Any = agent.run_block({"id": "b", "workers": [], "steps": []}).to_json()
    assert record["environment"]["before"]["sysroot"] == str(pi4)


def test_facts_command_prints_json(tmp_path: Path) -> None:
    file = tmp_path / program().file_name
    file.write_bytes(program().data)
    done = subprocess.run(
        [sys.executable, "-I", "-u", str(file), "facts"], capture_output=True, check=True
    )
    found = read(json.loads(done.stdout), Facts, "here")
    assert "onnxruntime" in found.runtimes
