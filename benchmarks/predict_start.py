"""From a file to its prediction: a cold process, and a warm one.

Bars: the whole process ``lwprof predict FILE`` at most 2 × ``python -c "import numpy, onnx"``;
in a warm process, over 10 networks, at most 2 × ``onnx.load`` of the same files. The store holds
planted numbers for every kernel (environment: synthetic), so that every kernel is found; what is
timed is reading, finding the kernels and looking them up, not the numbers. A cost model asks the
runtime for the kernels of each graph once: that first answer and later ones are told apart.

    python benchmarks/predict_start.py [--quick] [--json FILE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from figures import arguments, machine, save

from lwprof import api, zoo
from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import kernels_on_host
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import OVERHEAD, Context, Device, Fact, Subject, open_store

NETWORKS = ("squeezenet1_1", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "ghostnet",
            "mnasnet_b1", "shufflenet_v2_x1_0", "resnet18", "efficientnet_b0", "googlenet")  # fmt: skip


def plant(url: str, paths: list[Path]) -> None:
    """A context in which every kernel of the files has a number."""
    context = Context("planted", "onnxruntime", "0", "CPU", 1, environment="synthetic")
    with open_store(url) as store:
        store.put_device(Device("planted", "host", "host"))
        run = store.begin_run({"kind": "plant"}, kind="campaign", context=context)
        store.put_subject(Subject(OVERHEAD, "chain", "overhead"))
        keys = {(OVERHEAD, "call_s"), (OVERHEAD, "gap_s")}
        for path in paths:
            for kernel in kernels_on_host(read(path)):
                workload = kernel.workload
                store.put_subject(Subject(workload.key, "workload", "", workload.description))
                keys.add((workload.key, "latency_s"))
        number = Estimate(1e-5, 9e-6, 1.1e-5, blocks=9)
        store.put_facts(
            [Fact.of(number, run_id=run.run_id, context=context.key, subject=subject,
                     quantity=quantity) for subject, quantity in sorted(keys)]
        )  # fmt: skip
        store.finish_run(run.run_id)


def seconds(work: Any, runs: int) -> float:
    """The median time of a call, after one that is not counted."""
    work()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def command(*words: str) -> Any:
    """A process to be timed."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def main() -> None:
    options = arguments(__doc__ or "")
    names = NETWORKS[:2] if options.quick else NETWORKS
    runs = 3 if options.quick else 7
    print(machine())
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.onnx" for name in names]
        for name, path in zip(names, paths, strict=True):
            zoo.save(name, path)
        url = f"{folder}/planted.db"
        plant(url, paths)
        cost = api.cost_model("host", store=url)
        for name, path in zip(names, paths, strict=True):
            loading = seconds(lambda path=path: onnx.load(path), runs)
            start = time.perf_counter()
            cost.predict([path])
            first = time.perf_counter() - start
            asking = seconds(lambda path=path: cost.predict([path]), runs)
            figures[name] = {"onnx_load_s": loading, "first_s": first, "predict_s": asking,
                             "first_ratio": first / loading, "ratio": asking / loading}  # fmt: skip
            print(f"{name:20} onnx.load {loading * 1e3:7.1f} ms   first {first * 1e3:7.1f} ms   "
                  f"later {asking * 1e3:7.1f} ms   ratio {asking / loading:.2f} (bar 2)", flush=True)  # fmt: skip
        base = seconds(command("-c", "import numpy, onnx"), runs)
        asked = ("-m", "lwprof", "predict", str(paths[0]), "--store", url)
        ours = seconds(command(*asked), runs)
    figures["cold"] = {"numpy_onnx_s": base, "predict_s": ours, "ratio": ours / base}
    print(f"cold process: import numpy, onnx {base:.2f} s   lwprof predict {ours:.2f} s   "
          f"ratio {ours / base:.2f} (bar 2)")  # fmt: skip
    save(options.json, figures)


if __name__ == "__main__":
    main()
