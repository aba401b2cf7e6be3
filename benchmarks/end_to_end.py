"""End-to-end latency against a bare loop: bar: interval of the mean log ratio holds 1, in 0.97–1.03.

Bare processes that do nothing but ``InferenceSession.run`` in a loop alternate with lwprof's
blocks; the ratio of the two medians is taken pair by pair.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import arguments, machine, save
from networks import chosen, label

from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session import scripts
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare, read_model
from lwprof.profiler.statistics import mean_interval

BARE = """
import sys, time, statistics
import numpy as np, onnxruntime as ort
path, threads, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feeds = {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
for _ in range(max(3, n // 4)):
    session.run(None, feeds)
times = []
for _ in range(n):
    start = time.perf_counter()
    session.run(None, feeds)
    times.append(time.perf_counter() - start)
print(statistics.median(times))
"""


def ratios(network: str, threads: int, pairs: int, width: float) -> tuple[np.ndarray, float]:
    """log(lwprof / bare) of each pair, and the median latency in seconds.

    Pairs are taken until the interval's half-width is at most ``width`` (14 at least, since a
    rule on precision alone leaves the mean where it is only when it cannot fire at once).
    """
    settings = Settings(threads=threads)
    rng, logs, latency = random.Random(0), [], 0.02
    with tempfile.TemporaryDirectory() as folder, open_device("host") as link:
        prepared = prepare(link.agent, read_model(network, settings), settings, threads)
        path = Path(folder) / "m.onnx"
        path.write_bytes(prepared.graph.proto.SerializeToString())

        def ours() -> float:
            script = scripts.end_to_end(prepared.runnable, latency, link.affinity)
            record = link.agent.run_block(script).to_json()
            return float(np.median(reading.end_to_end(script, record).times_s))

        def bare() -> float:
            n = scripts.iterations(latency)
            command = [sys.executable, "-I", "-c", BARE, str(path), str(threads), str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return float(done.stdout)

        latency = ours()
        for _ in range(pairs):
            first = rng.random() < 0.5
            if first:
                x, y = ours(), bare()
            else:
                y, x = bare(), ours()
            logs.append(np.log(x / y))
            if len(logs) >= 14:
                e = mean_interval(np.array(logs))
                if (e.high - e.low) / 2 <= width:
                    break
    return np.array(logs), latency


def main() -> None:
    args = arguments(__doc__, threads=1, pairs=90, width=0.02, only="")
    networks = ["squeezenet1_1", "tiny_ops"] if args.quick else chosen(args.only)
    print(machine())
    rows = []
    for network in networks:
        logs, latency = ratios(network, args.threads, args.pairs, args.width)
        e = mean_interval(logs)
        ratio, low, high = (float(np.exp(v)) for v in (e.value, e.low, e.high))
        rows.append({"network": label(network), "ratio": ratio, "low": low, "high": high,
                     "pairs": len(logs), "latency_s": latency, "log_ratios": logs.tolist()})  # fmt: skip
        ok = low <= 1 <= high and low >= 0.97 and high <= 1.03
        print(f"{label(network):22}{latency * 1e3:9.3f} ms  {ratio:.3f} ({low:.3f}–{high:.3f}) "
              f"{'ok' if ok else 'contains 1' if low <= 1 <= high else 'OFF'}", flush=True)  # fmt: skip
        save(args.json, rows)
    inside = sum(r["low"] <= 1 <= r["high"] for r in rows)
    narrow = sum(r["low"] >= 0.97 and r["high"] <= 1.03 for r in rows)
    print(f"{inside}/{len(rows)} intervals contain 1; {narrow}/{len(rows)} within 0.97–1.03")


if __name__ == "__main__":
    main()
