"""A/A and planted slowdowns through ``lwprof compare``. Bars: false "different" ≤ 5 % of all
pairs; a planted 5 % slowdown found in ≥ 90 % where the paired block spread is ≤ 8 %.

A/A: a network against itself re-serialised with renamed tensors, so that no hash gives it
away. Slowdown: the same network with an extra kernel that takes a known share of its time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime as ort
from figures import arguments, machine, save
from networks import label

from lwprof import api
from lwprof.profiler.session.compare import _log_ratio
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.store import open_store

NETWORKS = ("mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x1_0")
_LOAD = """
import time
while True:  # a neighbour that is busy two thirds of the time
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        pass
    time.sleep(0.1)
"""


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with every inner tensor and node renamed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {v.name for v in (*copy.graph.input, *copy.graph.output)}
    names: dict[str, str] = {}

    def new(name: str) -> str:
        return name if not name or name in kept else names.setdefault(name, f"t{len(names)}_r")

    for node in copy.graph.node:
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        node.name = f"renamed_{node.name}"
    for constant in copy.graph.initializer:
        constant.name = new(constant.name)
    del copy.graph.value_info[:]
    return copy


@contextmanager
def planted_load(active: bool) -> Iterator[None]:
    """A busy neighbour process while the block runs."""
    if not active:
        yield
        return
    process = subprocess.Popen([sys.executable, "-I", "-c", _LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def slowed(model: onnx.ModelProto, share: float) -> tuple[onnx.ModelProto, float]:
    """The network with chained Sigmoids on its input that take ``share`` of its time.

    How many are needed, and the ratio that they really make, come from quickest runs of
    sessions that alternate in this process: a busy host cannot make a run quicker.

    Returns:
        The network and its planted ratio to the original.
    """
    count = 20
    for _ in range(3):  # the first guess finds the price of one, the next ones hit the share
        slow = _with_sigmoids(model, count)
        plain_s, slow_s = _quickest_s([model, slow])
        ratio = slow_s / plain_s
        if abs(ratio - 1 - share) <= 0.1 * share:
            break
        count = max(1, round(count * share / max(ratio - 1, share / 20)))
    return slow, ratio


def _with_sigmoids(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    source = copy.graph.input[0].name
    nodes, value = [], source
    for index in range(count):
        nodes.append(onnx.helper.make_node("Sigmoid", [value], [f"slow{index}"]))
        value = f"slow{index}"
    for node in copy.graph.node:
        node.input[:] = [value if name == source else name for name in node.input]
    rest = list(copy.graph.node)
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes, *rest])
    return copy


def _quickest_s(models: list[onnx.ModelProto]) -> list[float]:
    """The quickest of 200 runs of each model, taken in turns, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [ort.InferenceSession(m.SerializeToString(), options) for m in models]
    tensor = models[0].graph.input[0]
    shape = [d.dim_value for d in tensor.type.tensor_type.shape.dim]
    feeds = {tensor.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    quickest = [np.inf] * len(models)
    for _ in range(200):
        for which, session in enumerate(sessions):
            start = time.perf_counter()
            session.run(None, feeds)
            quickest[which] = min(quickest[which], time.perf_counter() - start)
    return quickest


def one(a: onnx.ModelProto, b: onnx.ModelProto, seed: int, budget_s: float) -> dict:
    """One comparison: its verdict, ratio and paired block spread."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(threads=1)
        result = api.run_comparison(
            a, b, device="host", settings=settings, settings_b=settings,
            effort=Effort(budget_s=budget_s), margin=0.03, gates={}, store=f"{folder}/m.db",
            seed=seed,
        )  # fmt: skip
        with open_store(f"{folder}/m.db") as database:
            logs = [_log_ratio(block) for block in database.blocks(arm="pair")]
    spread = float(np.std(logs, ddof=1))
    return {"verdict": result.verdict, "reason": result.reason, "ratio": result.ratio.value,
            "low": result.ratio.low, "high": result.ratio.high, "pairs": result.pairs,
            "spread": spread, "flags": list(result.flags), "seconds": result.duration_s}  # fmt: skip


def main() -> None:
    args = arguments(__doc__, pairs=200, first=0, load=0, slowdown=0.0, budget=120.0)
    from lwprof import zoo

    pairs = 3 if args.quick else args.pairs
    print(machine())
    rows = []
    models = {name: zoo.build(name) for name in NETWORKS}
    planted = {}
    for index in range(args.first, args.first + pairs):
        name = NETWORKS[index % len(NETWORKS)]
        a = models[name]
        b = renamed(a)
        ratio = 1.0
        if args.slowdown:
            if name not in planted:
                planted[name] = slowed(a, args.slowdown)
            b, ratio = planted[name]
        with planted_load(bool(args.load)):
            row = {"network": label(name), "load": bool(args.load), "slowdown": args.slowdown,
                   "planted": ratio,
                   **one(a, b, index, args.budget)}  # fmt: skip
        rows.append(row)
        print(f"{index:4} {name:22}{row['verdict']:10} {row['ratio']:.3f} "
              f"({row['low']:.3f}–{row['high']:.3f}) pairs {row['pairs']} spread "
              f"{row['spread']:.1%} planted {ratio:.3f} {row['seconds']:.0f} s {row['reason'] or ''}", flush=True)  # fmt: skip
        save(args.json, rows)
    calm = [r for r in rows if r["spread"] <= (0.08 if args.slowdown else 0.05)]
    different = sum(r["verdict"] == "different" for r in rows)
    print(f"different: {different}/{len(rows)}; unfit: "
          f"{sum(r['verdict'] == 'unfit' for r in rows)}/{len(rows)}; where the spread is small: "
          f"different {sum(r['verdict'] == 'different' for r in calm)}/{len(calm)}, "
          f"unfit {sum(r['verdict'] == 'unfit' for r in calm)}/{len(calm)}")  # fmt: skip


if __name__ == "__main__":
    main()
