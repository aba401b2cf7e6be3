"""Workers and agents killed, crashed or frozen in mid-block: every block is whole or an error.

A block is started and, at a random moment, its worker or its agent gets a random signal
(SIGKILL, SIGSEGV, SIGTERM, SIGSTOP). What counts: the block returns whole, or raises a
device error before its deadline and the grace after it; the next block on the same agent
(opened again where it died) succeeds; no process is left behind.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from figures import arguments, machine, save
from onnx import TensorProto, helper

from lwprof.agents import Agent, LocalTarget
from lwprof.errors import DeviceError

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGSTOP)
DEADLINE_S = 6.0
GRACE_S = 60.0
BLOCK_S = 0.6


def network() -> bytes:
    """Sixteen Sigmoids in a row."""
    nodes = [helper.make_node("Sigmoid", [f"t{i}"], [f"t{i + 1}"]) for i in range(16)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [256]) for name in ("t0", "t16")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def script(sha: str) -> dict[str, Any]:
    """A block that takes about ``BLOCK_S``."""
    spec = {"name": "t0", "kind": "tensor", "dtype": "float32", "shape": [256],
            "fill": {"kind": "normal", "seed": 0}}  # fmt: skip
    load = {"do": "load", "worker": 0, "session": "plain", "model": sha, "inputs": [spec],
            "options": {"runtime": "onnxruntime", "provider": "CPU", "threads": 1}}  # fmt: skip
    timed = {"do": "time", "worker": 0, "sessions": ["plain"], "slices": 3, "n": None,
             "slice_s": 0.1, "order": "abba", "max_s": 5.0}  # fmt: skip
    return {"id": "block", "workers": [{}], "steps": [load, timed]}


def descendants(pid: int) -> list[int]:
    """Processes that ``pid`` started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        found += children + [inner for child in children for inner in descendants(child)]
    return found


def strike(rng: random.Random, victim: str, number: int) -> threading.Thread:
    """Sends the signal to the worker or the agent after a random time."""
    wait_s = rng.uniform(0.0, BLOCK_S)

    def work() -> None:
        time.sleep(wait_s)
        family = descendants(os.getpid())
        if family:
            pid = family[0] if victim == "agent" else family[-1]
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def trial(agent: Agent, sha: str, rng: random.Random) -> dict[str, Any]:
    """One block under fire, and one after it."""
    victim, number = rng.choice(("agent", "worker")), rng.choice(SIGNALS)
    row: dict[str, Any] = {"victim": victim, "signal": signal.Signals(number).name}
    thread, start = strike(rng, victim, number), time.monotonic()
    try:
        record = agent.run_block(script(sha), deadline_s=DEADLINE_S)
        row["outcome"] = "whole" if len(record.steps) == 2 else "partial"
    except DeviceError as error:
        row["outcome"] = "transient" if error.transient else "refused"
        row["error"] = str(error)[:120]
    except Exception as error:  # noqa: BLE001 - anything else is a failure of the bar
        row["outcome"] = f"{type(error).__name__}: {error}"[:120]
    row["seconds"] = time.monotonic() - start
    thread.join()
    if not agent.alive:
        agent.reopen()
    try:
        row["next"] = len(agent.run_block(script(sha), deadline_s=GRACE_S).steps) == 2
    except DeviceError:
        # The blow fell between the two blocks.
        agent.reopen()
        row["next"] = len(agent.run_block(script(sha), deadline_s=GRACE_S).steps) == 2
    row["left"] = len(descendants(os.getpid())) - 1
    return row


def main() -> None:
    args = arguments(__doc__, trials=200, seed=0)
    rng = random.Random(args.seed)
    print(machine())
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        target = LocalTarget(workdir=Path(folder))
        with target, Agent(target) as agent:
            sha = agent.put(network())
            for index in range(8 if args.quick else args.trials):
                rows.append(trial(agent, sha, rng))
                print(index, rows[-1], flush=True)
                save(args.json, rows)
    outcomes = Counter(row["outcome"] for row in rows)
    late = sum(row["seconds"] > DEADLINE_S + GRACE_S for row in rows)
    print(f"{len(rows)} blows: {dict(outcomes)}; past the deadline {late}; next block failed "
          f"{sum(not row['next'] for row in rows)}; processes left {sum(r['left'] for r in rows)}")  # fmt: skip
    bad = set(outcomes) - {"whole", "transient", "refused"}
    if bad or late or any(not row["next"] or row["left"] for row in rows):
        raise SystemExit("a bar is missed")


if __name__ == "__main__":
    main()
