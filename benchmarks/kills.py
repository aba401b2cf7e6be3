"""kill -9 at random moments: 0 finished blocks lost or duplicated, every rerun completes.

``lwprof measure`` is started and it, or its worker, is killed after a random time; then the
same command is run again until it has finished. A block counts as finished once the store
has acknowledged it, which the tracing copy of the store's file shows: the blocks seen after
the kill must all be there at the end, each once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import arguments, machine, save

NETWORK = "tiny_ops"


def command(store: str, out: str) -> list[str]:
    return [sys.executable, "-m", "lwprof", "measure", NETWORK, "--device", "host", "--threads",
            "1", "--budget", "15s", "--rel-ci", "0.2", "--store", store, "--json", out]  # fmt: skip


def workers_of(pid: int) -> list[int]:
    """All descendants of a process, the youngest last."""
    found, queue = [], [pid]
    while queue:
        parent = queue.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                children = [int(child) for child in task.read_text().split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def blocks(store: str) -> list[str]:
    """Block ids in the store, as any reader sees them."""
    if not Path(store).exists():
        return []
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        try:
            return [row[0] for row in connection.execute("select block_id from blocks")]
        except sqlite3.OperationalError:
            return []  # killed before the tables were made


def kill_once(rng: random.Random, store: str, out: str, length_s: float) -> str:
    """Starts the command and kills it, or one of its descendants, after a random time."""
    process = subprocess.Popen(command(store, out), stderr=subprocess.PIPE)
    time.sleep(rng.uniform(0.2, length_s))
    victim = rng.choice(["cli", "worker", "agent"])
    family = workers_of(process.pid)
    pid = process.pid
    if victim != "cli" and family:
        pid = family[-1] if victim == "worker" else family[0]
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        victim = "none"
    process.wait(timeout=120)
    return victim if process.returncode else f"{victim}, survived"


def trial(rng: random.Random, length_s: float) -> dict:
    """One kill and the reruns; what was lost, doubled or failed."""
    with tempfile.TemporaryDirectory() as folder:
        store, out = f"{folder}/m.db", f"{folder}/r.json"
        victim = kill_once(rng, store, out, length_s)
        before = blocks(store)
        done = subprocess.run(
            command(store, out), check=False, capture_output=True, text=True, timeout=300
        )
        after = blocks(store)
        result = json.loads(Path(out).read_text()) if done.returncode == 0 else {}
        return {
            "victim": victim,
            "before": len(before),
            "lost": len(set(before) - set(after)),
            "doubled": len(after) - len(set(after)),
            "completed": done.returncode == 0 and bool(result.get("models")),
            "resumed": len(after),
            "error": done.stderr[-200:] if done.returncode else "",
        }


def main() -> None:
    args = arguments(__doc__, trials=200, seed=0)
    rng = random.Random(args.seed)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command(f"{folder}/m.db", f"{folder}/r.json"), check=True,
                       capture_output=True)  # fmt: skip
        length_s = time.perf_counter() - start
    print(f"one undisturbed run takes {length_s:.1f} s")
    rows = []
    for index in range(5 if args.quick else args.trials):
        rows.append(trial(rng, length_s))
        print(index, rows[-1], flush=True)
        save(args.json, rows)
    print(f"{len(rows)} kills: lost {sum(r['lost'] for r in rows)}, doubled "
          f"{sum(r['doubled'] for r in rows)}, reruns completed "
          f"{sum(r['completed'] for r in rows)}")  # fmt: skip


if __name__ == "__main__":
    main()
