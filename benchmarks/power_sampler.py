"""What the power sampler costs the work beside it, and what real sensors say, without a runtime.

The work is a loop of matrix products of one process on given processors, timed in ABBA windows
with and without the sampler. Needs Python and numpy only, so that it runs on a bare board. Bar:
the upper 95 % limit of time with the sampler over time without it is at most 1.01.

    python3 benchmarks/power_sampler.py [--pairs 60] [--threads 1] [--period 0.005]
        [--sensors SECONDS]   (lists this machine's sensors and reads each for so long)
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agents"))

CHIP = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


def work(cpus: list[int], pipe: Any) -> None:
    """Matrix products until told to stop: seconds per product of each window asked for."""
    os.setsid()  # as the agent's workers: else both share one group's processor time
    os.sched_setaffinity(0, cpus)
    os.environ["OPENBLAS_NUM_THREADS"] = str(len(cpus))
    import numpy as np

    a = np.random.default_rng(0).standard_normal((160, 160)).astype(np.float32)
    while (seconds := pipe.recv()) is not None:
        start, n = time.perf_counter(), 0
        while (now := time.perf_counter()) - start < seconds:
            for _ in range(20):
                a @ a
            n += 20
        pipe.send((now - start) / n)


def cost(pairs: int, cpus: list[int], period_s: float) -> dict[str, Any]:
    """The ratio of time with the sampler to time without it, with a 95 % t interval."""
    from program.instruments import finding
    from program.sampling import Sampler

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(cpus, theirs))
    process.start()
    logs, cpu_s, samples = [], 0.0, 0
    for index in range(pairs + 2):
        seconds = {}
        for sampled in (True, False) if index % 2 == 0 else (False, True):
            sampler = Sampler(finding.by_name("ina3221", "1-0040"), period_s, cpus)
            if sampled:
                sampler.start()
            ours.send(0.5)
            seconds[sampled] = ours.recv()
            if sampled:
                found = sampler.stop()
                cpu_s += found["cpu_s"]
                samples += len(found["t_ns"])
        if index >= 2:  # the first two warm up
            logs.append(math.log(seconds[True] / seconds[False]))
    ours.send(None)
    process.join()
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    return {"cpus": len(cpus), "ratio": math.exp(mean), "low": math.exp(mean - 2 * error),
            "high": math.exp(mean + 2 * error), "samples": samples,
            "cpu_us_per_sample": 1e6 * cpu_s / max(1, samples)}  # fmt: skip


def fake_tree(root: Path) -> None:
    """One rail of an invented INA3221."""
    folder = root / CHIP.lstrip("/")
    folder.mkdir(parents=True)
    for name, text in (("in1_label", "VDD_IN"), ("in1_input", "5056"), ("curr1_input", "912"),
                       ("update_interval", "1")):  # fmt: skip
        (folder / name).write_text(text + "\n")


def sensors(seconds: float) -> list[dict[str, Any]]:
    """Every sensor of this machine, read at its own rate for ``seconds``."""
    from program.instruments import finding
    from program.sampling import Sampler

    out: list[dict[str, Any]] = [one.to_json() for one in finding.probe()[1]]
    for sensor in finding.probe()[0]:
        sampler = Sampler(sensor)
        sampler.start()
        time.sleep(seconds)
        found = sampler.stop()
        first = {label: values[:1] + values[-1:] for label, values in found["values"].items()}
        out.append({"sensor": sensor.to_json(), "readings": len(found["t_ns"]), "values": first,
                    "different": {k: len(set(v)) for k, v in found["values"].items()},
                    "span_s": (found["t_ns"][-1] - found["t_ns"][0]) * 1e-9,
                    "cpu_s": found["cpu_s"], "failures": found["failures"]})  # fmt: skip
    return out


def main() -> None:
    """Runs what was asked for and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--period", type=float, default=0.005)
    parser.add_argument("--sensors", type=float)
    given = parser.parse_args()
    if given.sensors is not None:
        print(json.dumps(sensors(given.sensors)))
        return
    with tempfile.TemporaryDirectory() as name:
        fake_tree(Path(name))
        os.environ["LWPROF_SYSROOT"] = name
        cpus = sorted(os.sched_getaffinity(0))[: given.threads]
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: max(2, given.threads)])
        print(json.dumps(cost(given.pairs, cpus, given.period)))


if __name__ == "__main__":
    main()
