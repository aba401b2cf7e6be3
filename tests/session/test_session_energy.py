"""Energy through the whole production path, on a rail whose true joules follow the work done.

Everything is real but the tree of files: agent, worker, sampler, blocks, store, statistics.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from session_models import small_network

from lwprof import api
from lwprof.agents.power_messages import Instruments, Missing, Rail, Sensor
from lwprof.errors import UsageError
from lwprof.profiler.session.energy import BLOCKS, assumed
from lwprof.profiler.session.meter import choose, why_none
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.result import MeasurementResult
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.statistics.power import SensorRefused
from lwprof.profiler.store import open_store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agents"))
import fake_power

CHIP = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


@dataclass(frozen=True)
class Board:
    """A synthetic board that was measured."""

    result: MeasurementResult
    store: str
    truth_j: list[float]
    measured_j: list[float]
    late: float


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("energy")
    tree = fake_power.orin_nano(folder / "tree")
    (tree / CHIP / "in1_input").write_text(f"{fake_power.LOADED_MV}\n")
    (tree / CHIP / "update_interval").write_text("10\n")
    path = folder / "small.onnx"
    onnx.save(small_network(), path)
    rail = fake_power.SyntheticRail(
        tree / CHIP / "curr1_input", 2.0, 3.0, 0.01,
        lambda: fake_power.processes_of(tree, b"worker"),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LWPROF_SYSROOT", str(tree))
        try:
            result = api.run_measurement(
                [str(path)], device="host", settings=Settings(threads=1),
                effort=Effort(budget_s=120, rel_ci=0.5, kernels=False, energy=True),
                store=str(folder / "m.db"), seed=1,
            )  # fmt: skip
        finally:
            rail.close()
    truth, measured = joules(rail, str(folder / "m.db"))
    yield Board(result, str(folder / "m.db"), truth, measured, rail.late())


def joules(rail: Any, store: str) -> tuple[list[float], list[float]]:
    """Of each block's window: the joules above idle truly drawn, and what was estimated."""
    from lwprof.profiler.session import energy_blocks

    truth, measured = [], []
    with open_store(store) as database:
        for block in database.blocks():
            if block.arm != "energy":
                continue
            script, record = block.payload["script"], block.payload["record"]
            try:
                [visit] = energy_blocks.read(script, record, ["VDD_IN"]).values()
            except SensorRefused:
                continue  # a busy machine may keep the sampler from reading
            [window] = [w for w in record["steps"][-1]["windows"] if w["kind"] == "run"]
            truth.append(rail.above_idle_j(window["t0_ns"], window["t1_ns"]) / window["n"])
            measured.append(visit.above_idle_j)
    return truth, measured


def test_measured_joules_are_the_true_ones(board: Board) -> None:
    if board.late > 0.1 or len(board.truth_j) <= BLOCKS // 2:
        pytest.skip(f"a busy machine kept the rail from {board.late:.0%} of its deadlines")
    ratios = np.array(board.measured_j) / np.array(board.truth_j)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)


def test_a_result_carries_energy_with_its_scope(board: Board) -> None:
    data = json.loads(json.dumps(board.result.to_json(), allow_nan=False))
    (model,) = data["models"]
    for name in ("energy_j", "energy_above_idle_j", "power_w"):
        estimate = Estimate.from_json(model[name])
        assert estimate.low <= estimate.value <= estimate.high and (estimate.blocks or 0) >= 2
    scope = model["energy_scope"]
    assert scope["sensor"] == "ina3221:1-0040" and scope["rails"] == ["VDD_IN"]
    assert scope["includes"] == ["module"] and scope["calibrated"] is False
    assert scope["sysroot"] and data["context"]["environment"] == "synthetic"
    above, whole = (Estimate.from_json(model[n]) for n in ("energy_above_idle_j", "energy_j"))
    assert model["idle_power_w"]["value"] == pytest.approx(2.0, abs=0.3)
    assert 0 < above.value < whole.value


def test_joules_are_stored_as_facts(board: Board) -> None:
    with open_store(board.store) as database:
        key = board.result.context["key"]
        facts = database.lookup([board.result.models[0].sha256], key)
    [found] = facts.values()
    assert {"energy_j", "energy_above_idle_j", "power_w", "latency_s"} <= set(found)


def test_no_sensor_means_null_and_insisting_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWPROF_SYSROOT", str(tmp_path))
    path = tmp_path / "small.onnx"
    onnx.save(small_network(), path)
    store = str(tmp_path / "m.db")
    with pytest.raises(UsageError, match="cannot be measured.*external meter"):
        api.measure([str(path)], threads=1, budget_s=60, kernels=False, energy=True, store=store)
    effort = Effort(budget_s=60, rel_ci=0.9, kernels=False, assumed_power_w=(2.7, 6.4))
    result = api.run_measurement(
        [str(path)], device="host", settings=Settings(threads=1), effort=effort, store=store
    )
    model = result.to_json()["models"][0]
    assert model["energy_j"]["source"] == "simulated" and model["energy_scope"]["simulated"]
    latency = model["latency_s"]["value"]
    assert model["energy_j"]["value"] == pytest.approx(6.4 * latency)
    assert model["energy_above_idle_j"]["value"] == pytest.approx(3.7 * latency)


def sensor(family: str, *rails: tuple[str, str, list[str]], **more: Any) -> Sensor:
    return Sensor(
        family=family, name="x", period_s=0.01,
        rails=[Rail(label=label, includes=inside, unit="uW", role=role)
               for label, role, inside in rails], **more,
    )  # fmt: skip


NANO = sensor("ina3221", ("VDD_IN", "total", ["module"]), ("VDD_SOC", "part", ["soc"]))
AGX = sensor("ina3221", ("VDD_GPU_SOC", "separate", ["gpu"]), ("VDD_CPU_CV", "separate", ["cpu"]),
             ("VDDQ", "separate", ["memory"]), whole="no rail feeds all of it")  # fmt: skip


def found(*sensors: Sensor) -> Instruments:
    return Instruments(sensors=list(sensors), missing=[])


def test_the_total_wins_and_is_never_added_to_its_parts() -> None:
    meter = choose(found(AGX, NANO), "CPU")
    assert meter is not None and meter.labels == ("VDD_IN",)
    with pytest.raises(UsageError, match="overlap"):
        choose(found(NANO), "CPU", ("VDD_IN", "VDD_SOC"))


def test_without_a_total_the_provider_decides_and_a_total_is_refused() -> None:
    cpu, gpu = choose(found(AGX), "CPU"), choose(found(AGX), "CUDA")
    assert cpu is not None and cpu.labels == ("VDD_CPU_CV", "VDDQ")
    assert gpu is not None and gpu.labels == ("VDD_GPU_SOC", "VDDQ")
    assert cpu.scope()["whole"] == "no rail feeds all of it"
    assert cpu.scope()["includes"] == ["cpu", "memory"]
    with pytest.raises(UsageError, match="no total: no rail feeds all of it"):
        choose(found(AGX), "CPU", ("total",))
    with pytest.raises(UsageError, match="no sensor has the rails VDD_X"):
        choose(found(AGX), "CPU", ("VDD_X",))


def test_a_slow_sensor_gets_longer_windows() -> None:
    slow = sensor("um25c", ("USB", "total", ["board"]))
    slow = Sensor(**{**{f: getattr(slow, f) for f in slow.__struct_fields__}, "period_s": 0.5})
    meter = choose(found(slow), "CPU")
    assert meter is not None and meter.run_s == pytest.approx(10.0)


def test_why_there_is_none_is_told() -> None:
    missing = Missing(family="none", name="Raspberry Pi 4", why="no power sensor", advice="meter")
    assert why_none(Instruments(sensors=[], missing=[missing])) == (
        "Raspberry Pi 4: no power sensor (meter)"
    )


def test_an_assumed_power_is_marked_everywhere() -> None:
    energy = assumed(Estimate(0.01, 0.009, 0.011), 2.0, 5.0)
    assert energy.total is not None and energy.total.energy_j.value == pytest.approx(0.05)
    for name in ("energy_j", "above_idle_j", "power_w", "idle_w"):
        assert getattr(energy.total, name).source == "simulated"
