"""The energy step through a real agent: windows, raw samples, and what they cannot hide."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_power
import numpy as np
import pytest
from fake_power import processes_of
from small_models import chain, feed, load, script

from lwprof.agents import Agent, LocalTarget
from lwprof.errors import DeviceError
from lwprof.profiler.statistics.energy import visits
from lwprof.profiler.statistics.power import Rail, SensorRefused, Window, trace

CURRENT = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input"
LABEL = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fake_power.orin_nano(tmp_path_factory.mktemp("tree"))
    (root / CURRENT).with_name("in1_input").write_text(f"{fake_power.LOADED_MV}\n")
    return root


@pytest.fixture(scope="module")
def board(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    target = LocalTarget(workdir=tmp_path_factory.mktemp("work"), env={"LWPROF_SYSROOT": str(tree)})
    with target, Agent(target) as agent:
        yield agent


def energy_step(**more: Any) -> dict[str, Any]:
    windows = [{"kind": "idle", "seconds": 0.25},
               {"kind": "run", "seconds": 0.25, "session": "plain"},
               {"kind": "idle", "seconds": 0.25}]  # fmt: skip
    return {"do": "energy", "worker": 0, "family": "ina3221", "name": "1-0040",
            "period_s": 0.005, "windows": windows, **more}  # fmt: skip


def block(agent: Agent, **more: Any) -> Any:
    sha = agent.put(chain(6, 4096))
    loading = {**load(sha), "inputs": [feed(shape=(4096,))]}
    return agent.run_block(script(loading, energy_step(**more))).steps[1]


def test_instruments_are_described_and_a_fake_is_marked(board: Agent, tree: Path) -> None:
    found = board.instruments()
    assert [s.family for s in found.sensors] == ["ina3221"] and found.sysroot == str(tree)
    assert found.sensors[0].sysroot == str(tree)
    assert [rail.role for rail in found.sensors[0].rails] == ["total", "part", "part"]


def test_windows_and_samples_are_on_one_clock(board: Agent) -> None:
    result = block(board)
    kinds = [window.kind for window in result.windows]
    assert kinds == ["idle", "run", "idle"] and result.windows[1].n > 10
    edges = [edge for w in result.windows for edge in (w.t0_ns, w.t1_ns)]
    times = result.samples.t_ns
    assert edges == sorted(edges) and times == sorted(times)
    assert times[0] <= edges[0] + 50_000_000 and times[-1] >= edges[-1] - 50_000_000
    # 0.75 s at 5 ms; how many deadlines a busy machine misses is not this test's matter.
    assert 20 <= len(times) <= 160
    assert set(result.samples.values["VDD_IN"]) == {fake_power.LOADED_MV * 912}
    assert result.sensor.sysroot


def test_a_paused_window_has_no_samples(board: Agent) -> None:
    windows = [{"kind": "idle", "seconds": 0.1, "sampled": True},
               {"kind": "run", "seconds": 0.3, "session": "plain", "sampled": False},
               {"kind": "idle", "seconds": 0.1, "sampled": True}]  # fmt: skip
    result = block(board, windows=windows)
    run = result.windows[1]
    inside = [t for t in result.samples.t_ns if run.t0_ns + 20_000_000 < t < run.t1_ns]
    assert not inside and not run.sampled


def test_a_duty_cycle_is_kept(board: Agent) -> None:
    windows = [{"kind": "run", "seconds": 0.5, "session": "plain", "rate_hz": 20.0}]
    run = block(board, windows=windows).windows[0]
    assert run.n == 10 and run.t1_ns - run.t0_ns >= 499_000_000


def test_only_the_rails_asked_for_are_read(board: Agent) -> None:
    result = block(board, rails=["VDD_SOC"])
    assert set(result.samples.values) == {"VDD_SOC"}
    assert set(result.samples.values["VDD_SOC"]) == {5048 * 264}
    with pytest.raises(DeviceError, match="no rail 'VDD_X'"):
        block(board, rails=["VDD_X"])


def test_an_unknown_sensor_is_refused_by_name(board: Agent) -> None:
    with pytest.raises(DeviceError, match="1-0099"):
        block(board, name="1-0099")


def test_a_rail_renamed_meanwhile_is_told_and_refused(board: Agent, tree: Path) -> None:
    def rename() -> None:
        # Once the sampler holds the file open, and at the latest after 30 s.
        for _ in range(3000):
            if any(is_open(pid, tree / CURRENT) for pid in processes_of(tree, b"serve")):
                (tree / LABEL).write_text("VDD_OTHER\n")
                return
            time.sleep(0.01)

    renaming = threading.Thread(target=rename, daemon=True)
    renaming.start()
    try:
        result = block(board)
        renaming.join()
    finally:
        (tree / LABEL).write_text("VDD_IN\n")
    assert "VDD_OTHER" in (result.samples.changed or "")
    with pytest.raises(SensorRefused, match="changed while"):
        energy_of(result)


def energy_of(result: Any) -> Any:
    windows = [Window(w.t0_ns * 1e-9, w.t1_ns * 1e-9, w.n or 0, w.session or "")
               for w in result.windows]  # fmt: skip
    sensor = result.sensor.to_json()
    rail = Rail.from_json(sensor, "VDD_IN")
    samples = result.samples
    found = trace(rail, samples.t_ns, samples.values["VDD_IN"], windows, changed=samples.changed)
    return visits(found, windows)[0]


def test_energy_of_a_synthetic_rail_follows_the_work(board: Agent, tree: Path) -> None:
    """The whole way: a worker's processor time → a fake file → samples → joules."""
    rail = fake_power.SyntheticRail(
        tree / CURRENT, 2.0, 3.0, 0.005, lambda: processes_of(tree, b"worker")
    )
    sha = board.put(chain(6, 4096))
    loading = {**load(sha), "inputs": [feed(shape=(4096,))]}
    try:
        record = board.run_block(script(loading, energy_step()))
    finally:
        rail.close()
    assert rail.log[-1][1] > 0, "the worker was not found"
    try:
        found = energy_of(record.steps[1])
    except SensorRefused as error:
        pytest.skip(f"a busy machine kept the sampler from reading: {error}")
    # One thread at work: between a fraction of a core (a busy machine) and a whole one.
    assert found.idle_w == pytest.approx(2.0, abs=0.5)
    busy = found.above_idle_j * found.n / found.seconds / 3.0
    assert 0.2 < busy < 1.3
    assert np.isclose(found.energy_j - found.above_idle_j, found.idle_w * found.seconds / found.n)


def is_open(pid: int, path: Path) -> bool:
    """Whether a process holds a file open."""
    try:
        return any(os.readlink(fd) == str(path) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
