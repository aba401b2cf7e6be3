"""Energy through the whole production path, and what the power sampler costs.

A synthetic rail publishes idle power + a constant × the processor time of the worker at work,
so that true joules are known; everything else is real. Bar of the sampler: the upper 95 %
limit of latency with it over latency without it is at most 1.01 (windows in ABBA order).

    python benchmarks/energy_end_to_end.py [--quick] [--json FILE] [--model squeezenet1_1]
        [--pairs 60] [--rate 200]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from figures import arguments, machine, save

from lwprof import api
from lwprof.agents import Agent, LocalTarget
from lwprof.profiler.graph import input_specs, materialise, read
from lwprof.profiler.session import energy_blocks
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.statistics import mean_interval
from lwprof.profiler.statistics.power import SensorRefused
from lwprof.profiler.store import open_store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "agents"))
import fake_power

CHIP = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
IDLE_W, CPU_W, PERIOD_S = 2.0, 3.0, 0.005


def tree_in(folder: Path, interval_ms: int) -> Path:
    """An invented board whose sensor has a new value every ``interval_ms``."""
    tree = fake_power.orin_nano(folder / "tree")
    (tree / CHIP / "in1_input").write_text(f"{fake_power.LOADED_MV}\n")
    (tree / CHIP / "update_interval").write_text(f"{interval_ms}\n")
    return tree


def end_to_end(model: str, folder: Path, budget_s: float) -> dict[str, Any]:
    """Joules of a model and its kernels against the truth of the synthetic rail."""
    tree = tree_in(folder, 5)
    rail = fake_power.SyntheticRail(
        tree / CHIP / "curr1_input", IDLE_W, CPU_W, PERIOD_S,
        lambda: fake_power.processes_of(tree, b"worker"),
    )  # fmt: skip
    os.environ["LWPROF_SYSROOT"] = str(tree)
    try:
        result = api.run_measurement(
            [model], device="host", settings=Settings(threads=1),
            effort=Effort(budget_s=budget_s, rel_ci=0.05, energy=True),
            store=str(folder / "m.db"), seed=1,
        )  # fmt: skip
    finally:
        del os.environ["LWPROF_SYSROOT"]
        rail.close()
    truths, ratios, refused, lost = [], [], 0, 0
    with open_store(str(folder / "m.db")) as database:
        for block in database.blocks():
            if block.arm != "energy":
                continue
            script, record = block.payload["script"], block.payload["record"]
            [window] = [w for w in record["steps"][-1]["windows"] if w["kind"] == "run"]
            truth = rail.above_idle_j(window["t0_ns"], window["t1_ns"]) / window["n"]
            try:
                [visit] = energy_blocks.read(script, record, ["VDD_IN"]).values()
            except SensorRefused:
                refused += 1
                continue
            if truth <= 0:  # the rail lost sight of the worker: that block has no truth
                lost += 1
                continue
            truths.append(truth)
            ratios.append(visit.above_idle_j / truth)
    found = result.models[0]
    energy = found.energy
    out: dict[str, Any] = {
        "model": found.name, "blocks": len(ratios), "refused_blocks": refused, "blocks_without_truth": lost,
        "ratio_median": float(np.median(ratios)),
        "ratio_min": float(min(ratios)), "ratio_max": float(max(ratios)),
        "rail_late": rail.late(), "refused": energy.refused, "kernels": len(found.kernels),
        "kernels_with_energy": sum(k.energy_j is not None for k in found.kernels),
        "grouped": len(energy.group),
    }  # fmt: skip
    if energy.total is not None:
        above = energy.total.above_idle_j
        out |= {"energy_half_width": energy.total.energy_j.relative_half_width,
                "truth_inside": above.low <= float(np.mean(truths)) <= above.high}  # fmt: skip
    if energy.closure is not None:
        out |= {"closure_error": energy.closure.error, "closes": energy.closure.closes,
                "sum_half_width": energy.closure.sum_j.relative_half_width}  # fmt: skip
    return out


def sampler_cost(model: str, folder: Path, pairs: int, rate: float) -> dict[str, Any]:
    """Latency with the sampler over latency without it, one value per pair of windows."""
    tree = tree_in(folder, max(1, round(1000 / rate)))
    graph = materialise(read(model))
    out: dict[str, Any] = {"pairs": pairs, "rate_hz": rate}
    target = LocalTarget(workdir=folder / "work", env={"LWPROF_SYSROOT": str(tree)})
    with target, Agent(target) as agent:
        sha = agent.put(graph.proto.SerializeToString())
        for threads in (1, os.cpu_count() or 1):
            ratios, cpu_s, samples = [], 0.0, 0
            for start in range(0, pairs, 10):
                record = agent.run_block(cost_block(sha, graph, threads, min(10, pairs - start)))
                result = record.steps[-1]
                cpu_s += result.samples.cpu_s
                samples += len(result.samples.t_ns)
                ratios += pair_ratios(result.windows)
            found = mean_interval(np.log(ratios))
            out[f"threads_{threads}"] = {
                "ratio": float(np.exp(found.value)), "low": float(np.exp(found.low)),
                "high": float(np.exp(found.high)),
                "cpu_per_sample_us": 1e6 * cpu_s / max(1, samples), "samples": samples,
            }  # fmt: skip
    return out


def cost_block(sha: str, graph: Any, threads: int, pairs: int) -> dict[str, Any]:
    """Windows of work with and without the sampler, in ABBA order."""
    options = {"runtime": "onnxruntime", "provider": "CPU", "threads": threads, "profile": False}
    windows = []
    for index in range(pairs):
        for sampled in (True, False) if index % 2 == 0 else (False, True):
            windows.append({"kind": "run", "session": "plain", "seconds": 0.4, "sampled": sampled})
    return {
        "id": f"cost{threads}", "workers": [{"affinity": None, "nice": None, "env": {}}],
        "steps": [
            {"do": "load", "worker": 0, "session": "plain", "model": sha, "options": options,
             "inputs": list(input_specs(graph))},
            {"do": "warm", "worker": 0, "sessions": ["plain"], "min_n": 3, "min_s": 0.2,
             "max_s": 10.0},
            {"do": "energy", "worker": 0, "family": "ina3221", "name": "1-0040",
             "rails": ["VDD_IN"], "period_s": None, "windows": windows},
        ],
    }  # fmt: skip


def pair_ratios(windows: list[Any]) -> list[float]:
    """Seconds per inference with the sampler over those without it, pair by pair."""
    out = []
    for first, second in zip(windows[::2], windows[1::2], strict=True):
        per_run = {w.sampled: (w.t1_ns - w.t0_ns) / w.n for w in (first, second)}
        out.append(per_run[True] / per_run[False])
    return out


def main() -> None:
    """Runs both and prints them."""
    given = arguments(__doc__ or "", model="squeezenet1_1", pairs=60, rate=200.0, budget=240.0)
    figures: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = 10 if given.quick else given.pairs
        figures["sampler"] = sampler_cost(given.model, folder / "cost", pairs, given.rate)
        print("sampler", figures["sampler"], flush=True)
        save(given.json, figures)
        budget = 60.0 if given.quick else given.budget
        (folder / "energy").mkdir()
        figures["energy"] = end_to_end(given.model, folder / "energy", budget)
        print("energy", figures["energy"], flush=True)
        save(given.json, figures)


if __name__ == "__main__":
    main()
