"""End-to-end latency against a bare loop: bar: interval of the mean log ratio holds 1, in 0.97–1.03.

Fresh bare processes that do nothing but ``InferenceSession.run`` in a loop, one for each block of
lwprof's. The speed of a shared host jumps by a third for seconds at a time, so the two of a pair
take turns: one is stopped (SIGSTOP) while the other runs, a few inferences each. The inferences
that a stop cut in two are left out on both sides, and the two medians are compared.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import numpy as np
from figures import arguments, machine, save
from networks import chosen, label

from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session import scripts
from lwprof.profiler.session.link import Link, open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare, read_model
from lwprof.profiler.statistics import mean_interval

BARE = """
import sys, time
import numpy as np, onnxruntime as ort
path, threads, warm = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feeds = {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
for _ in range(warm):
    session.run(None, feeds)
print("warm", flush=True)
times = []
while sys.stdin not in __import__("select").select([sys.stdin], [], [], 0)[0]:
    start = time.perf_counter()
    session.run(None, feeds)
    times.append((start, time.perf_counter() - start))
print(" ".join(f"{start} {spent}" for start, spent in times))
"""


def worker_of(agent: int) -> int | None:
    """The process that measures for an agent; None while there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"--parent" in words and int(words[words.index(b"--parent") + 1]) == agent:
                return int(folder.name)
        except (OSError, ValueError):
            continue
    return None


class Turns:
    """Two processes, of which one runs at a time; the first one's end is the end."""

    def __init__(self, slice_s: float) -> None:
        self.slice_s = slice_s

    def run(self, block: Thread, agent: int, bare: int) -> None:
        """Until the block is over, its worker and the bare process take turns."""
        worker = None
        while block.is_alive():
            worker = worker or worker_of(agent)
            time.sleep(self.slice_s if worker else 0.002)
            if worker is None or not block.is_alive():
                continue
            try:
                os.kill(worker, signal.SIGSTOP)
                os.kill(bare, signal.SIGCONT)
                time.sleep(self.slice_s)
                os.kill(bare, signal.SIGSTOP)
                os.kill(worker, signal.SIGCONT)
            except ProcessLookupError:  # the worker is done, its record on the way
                os.kill(bare, signal.SIGSTOP)
                block.join()
        os.kill(bare, signal.SIGCONT)


def whole(times_s: np.ndarray) -> np.ndarray:
    """Those that no stop cut in two: a stop lasts for at least three inferences."""
    return times_s[times_s < 2.5 * times_s.min()]


class Pair:
    """One block of lwprof's and one bare process, in turns."""

    def __init__(self, link: Link, model: scripts.Runnable, path: Path, threads: int) -> None:
        self.link, self.model, self.path, self.threads = link, model, path, threads
        self.agent = next(int(f.name) for f in Path("/proc").glob("[0-9]*")
                          if _parent(f) == os.getpid() and b"serve" in _words(f))  # fmt: skip

    def block(self, latency_s: float) -> tuple[np.ndarray, float]:
        """Times of one block, and the seconds of its timed window."""
        script = scripts.end_to_end(self.model, latency_s, self.link.affinity)
        record = self.link.agent.run_block(script).to_json()
        return reading.end_to_end(script, record).times_s, record["steps"][-1]["duration_s"]

    def log_ratio(self, latency_s: float) -> float:
        """log(lwprof / bare) of one pair."""
        command = [sys.executable, "-I", "-c", BARE, str(self.path), str(self.threads),
                   str(max(3, scripts.iterations(latency_s) // 4))]  # fmt: skip
        bare = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert bare.stdout is not None
        bare.stdout.readline()
        os.kill(bare.pid, signal.SIGSTOP)
        found: list[tuple[np.ndarray, float, float]] = []
        block = Thread(target=lambda: found.append((*self.block(latency_s), time.perf_counter())))
        block.start()
        turn = max(0.015, 4 * latency_s)
        Turns(turn).run(block, self.agent, bare.pid)
        text, _ = bare.communicate("\n")
        ours, spent, end = found[0]
        starts, times = np.array(text.split(), float).reshape(-1, 2).T
        # A large network's few runs may all lie in one turn: the turns beside it are compared.
        inside = (starts > end - spent - turn - 0.05) & (starts < end + turn)
        return float(np.log(np.median(whole(ours)) / np.median(whole(times[inside]))))


def _words(folder: Path) -> list[bytes]:
    try:
        return (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ratios(network: str, threads: int, pairs: int, width: float) -> tuple[np.ndarray, float]:
    """log(lwprof / bare) of each pair, and the median latency in seconds.

    Pairs are taken until the interval's half-width is at most ``width`` (14 at least, since a
    rule on precision alone leaves the mean where it is only when it cannot fire at once).
    """
    settings, logs = Settings(threads=threads), []
    with tempfile.TemporaryDirectory() as folder, open_device("host") as link:
        prepared = prepare(link.agent, read_model(network, settings), settings, threads)
        path = Path(folder) / "m.onnx"
        path.write_bytes(prepared.graph.proto.SerializeToString())
        pair = Pair(link, prepared.runnable, path, threads)
        latency = float(np.median(pair.block(0.02)[0]))
        for _ in range(pairs):
            logs.append(pair.log_ratio(latency))
            if len(logs) >= 14:
                e = mean_interval(np.array(logs))
                if e.high - e.low <= 2 * width:
                    break
    return np.array(logs), latency


def main() -> None:
    args = arguments(__doc__, threads=1, pairs=60, width=0.015, only="")
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
