"""TVM end to end against ONNX Runtime, one thread, in alternating fresh processes.

Bars: MobileNetV2 and ResNet-18 at most 3 times ONNX Runtime's latency with the schedule
templates, at most 2 times with ten minutes of tuning (``--tune 600``). Also printed: the
largest relative error of the outputs, and closure: the sum of the kernels' times and the
gap measured by itself, over the latency without a profiler.

    python benchmarks/tvm_against_onnxruntime.py [--quick] [--tune 600] [--untuned 1]
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
import numpy
import onnxruntime

from lwprof.agents.program import tvm_runtime
from lwprof.profiler.graph import read
from lwprof.profiler.tvm import TvmArtifact, compile_model

MODELS = ("mobilenet_v2", "resnet18")
SECONDS = 1.0  # of timed runs in one process


def main() -> None:
    """Compile, time, print."""
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(worker(*sys.argv[2:])))
        return
    options = figures.arguments(__doc__ or "", tune=0.0, untuned=0, pairs=0, models="")
    pairs = options.pairs or (4 if options.quick else 12)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="lwprof-") as folder:
        for name in options.models.split(",") if options.models else MODELS:
            for mode, artifact, spent_s in variants(name, Path(folder), options):
                row = compare(name, mode, artifact, Path(folder), pairs)
                rows.append({**row, "compile_s": spent_s})
                print(line(rows[-1]), flush=True)
                figures.save(options.json, rows)


def variants(name: str, folder: Path, options: Any) -> Any:
    """The model compiled each way that was asked for, with the seconds it took."""
    graph = read(name)
    asked: list[tuple[str, dict[str, Any]]] = [("templates", {})]
    if options.untuned:
        asked.insert(0, ("untuned", {"schedules": False}))
    if options.tune:
        asked.append((f"tuned {options.tune:g} s", {"tune_s": options.tune}))
    for mode, settings in asked:
        started = time.perf_counter()
        yield (
            mode,
            compile_model(graph, cache_dir=folder, **settings),
            (time.perf_counter() - started),
        )


def compare(
    name: str, mode: str, artifact: TvmArtifact, folder: Path, pairs: int
) -> dict[str, Any]:
    """Alternate processes of both runtimes, ABBA; log ratios of neighbours."""
    model = folder / f"{name}.onnx"
    model.write_bytes(read(name).proto.SerializeToString())
    ratios, closures, error = [], [], 0.0
    for pair in range(pairs):
        order = ("onnxruntime", "tvm") if pair % 2 == 0 else ("tvm", "onnxruntime")
        found = {r: run(r, str(model), str(artifact.library)) for r in order}
        ratios.append(math.log(found["tvm"]["latency_s"] / found["onnxruntime"]["latency_s"]))
        closures.append(found["tvm"]["closure"])
        error = max(error, relative_error(found))
    mean, half = statistics.fmean(ratios), half_width(ratios)
    return {
        "model": name, "mode": mode, "schedule": artifact.schedule, "pairs": pairs,
        "ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half),
        "closure": statistics.median(closures), "relative_error": error,
        "kernels": len(artifact.kernels),
    }  # fmt: skip


def half_width(values: list[float]) -> float:
    """Half the 95 % t interval of the mean."""
    from scipy import stats

    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def relative_error(found: dict[str, Any]) -> float:
    """Largest difference of the outputs over the largest output."""
    ours, theirs = (numpy.array(found[r]["output"]) for r in ("tvm", "onnxruntime"))
    return float(numpy.abs(ours - theirs).max() / numpy.abs(theirs).max())


def run(runtime: str, model: str, library: str) -> dict[str, Any]:
    """One fresh process."""
    command = [sys.executable, __file__, "--worker", runtime, model, library]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def worker(runtime: str, model: str, library: str) -> dict[str, Any]:
    """Time one runtime for a second after warming up."""
    graph = read(model)
    random = numpy.random.default_rng(0)
    feeds = {t.name: random.standard_normal(t.shape).astype("float32") for t in graph.inputs}
    if runtime == "tvm":
        return tvm_worker(library, feeds)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    output = session.run(None, feeds)[0]
    times = timed([lambda: session.run(None, feeds)])[0]
    return {"latency_s": statistics.median(times), "output": output.reshape(-1).tolist()}


def tvm_worker(library: str, feeds: dict[str, Any]) -> dict[str, Any]:
    """Plain and profiled runs in turn: latency from the first, closure from both."""
    plain = tvm_runtime.load(library, {"threads": 1}, feeds)
    profiled = tvm_runtime.load(library, {"threads": 1, "profile": True}, feeds)
    output = plain.first()[0]
    profiled.first()
    times, _ = timed([plain.run, profiled.run])
    profile = profiled.profile_end()
    durations = numpy.array(profile["durations_ns"][-len(times) :], dtype=float)
    bias = statistics.median(profile["bias_ns"])
    kernels = central_mean((durations - bias).sum(axis=1)) / 1e9
    gap = central_mean(numpy.array(profile["gap_ns"], dtype=float)) / 1e9
    return {
        "latency_s": statistics.median(times),
        "closure": (kernels + gap) / central_mean(numpy.array(times)),
        "output": output.reshape(-1).tolist(),
    }


def timed(calls: list[Any]) -> list[list[float]]:
    """Seconds of each call, taken in turn for about a second after warming up."""
    for call in calls:
        for _ in range(3):
            call()
    taken: list[list[float]] = [[] for _ in calls]
    deadline = time.perf_counter() + SECONDS * len(calls)
    while time.perf_counter() < deadline or len(taken[0]) < 5:
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return taken


def central_mean(values: Any) -> float:
    """Mean of the middle half; medians of parts would not add up."""
    ordered = numpy.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def line(row: dict[str, Any]) -> str:
    """One printed row."""
    return (
        f"{row['model']:14} {row['mode']:12} TVM / ONNX Runtime {row['ratio']:.2f} "
        f"({row['low']:.2f} to {row['high']:.2f}, {row['pairs']} pairs)  closure "
        f"{row['closure']:.3f}  error {row['relative_error']:.1e}  compile {row['compile_s']:.0f} s"
    )


if __name__ == "__main__":
    main()
