"""Every strategy against random search and the exact optimum, at equal evaluations.

NAS-Bench-201, test accuracies, limit: the median latency of a device (Raspberry Pi 4). Each
strategy and random search run from the same number of seeds; a one-sided Mann-Whitney test
says whether the strategy's best accuracies are higher. Successive halving trains on CIFAR-10
(its published accuracies) below full fidelity. Bar: 1 % significance, two exceptions at most.

    python benchmarks/search_strategies.py [--quick] [--json FILE] [--evaluations 300] [--seeds 40]
        [--device pixel3] [--data imagenet16_120] [--first-seed 9000]
        [--only nsga2,qlearning]

Evolution's settings were chosen on raspi4, CIFAR-100 and the seeds 0 to 39; other devices, data
and seeds are the independent trial.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import arguments, machine, save
from scipy.stats import mannwhitneyu

from lwprof.predictors.space import Codes, Floats
from lwprof.search import space
from lwprof.search.constraints import Constraints, Limit
from lwprof.search.problem import Problem
from lwprof.search.strategies import names, run

DATA = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[2] / "shared" / "data"))
RADIX = 5 ** np.arange(5, -1, -1)


class Listed:
    """Real latencies of a device, by code."""

    quantities = ("latency_s",)

    def __init__(self, seconds: Floats, device: str) -> None:
        self._seconds, self.device = seconds, device

    def predict(self, codes: Codes) -> Floats:
        """(n, 1) seconds."""
        return self._seconds[codes @ RADIX][:, None]

    def quantile(self, codes: Codes, probability: float) -> Floats:
        """The same: a table is certain."""
        return self.predict(codes)


def problem(device: str, data: str) -> tuple[Problem, float]:
    """The tabular problem and its exact optimum."""
    latency = pd.read_csv(DATA / "nasbench201_latency.csv.gz", dtype={"ops": str})
    accuracy = pd.read_csv(DATA / "nasbench201_accuracy.csv.gz")
    table = latency.merge(accuracy.drop(columns="arch"), on="index")
    cells = space("nasbench201")
    place = cells.encode(table["ops"].tolist()) @ RADIX
    columns, wanted = {}, f"{data}_test_acc"
    for name in (device, "cifar10_test_acc", wanted):
        columns[name] = np.empty(len(table))
        columns[name][place] = table[name]
    seconds = columns[device] / 1e3
    limit = float(np.median(seconds))

    def merit(codes: Codes, fidelity: float = 1.0) -> Floats:
        return columns[wanted if fidelity >= 1 else "cifar10_test_acc"][codes @ RADIX]

    constraints = Constraints([Limit("latency_s", limit)], [Listed(seconds, device)])
    return Problem(cells, merit, constraints), float(columns[wanted][seconds <= limit].max())


def best(asked: Problem, name: str, evaluations: int, seed: int) -> float:
    """The best feasible accuracy of one run, 0 where nothing was feasible."""
    trials = run(asked, name, evaluations, np.random.default_rng(seed))
    found = trials.best()
    return 0.0 if found is None else float(trials.merits[found])


def main() -> None:
    """Prints one line for each strategy."""
    args = arguments(__doc__ or "", evaluations=300, seeds=40, device="raspi4",
                     data="cifar100", first_seed=0, only="")  # fmt: skip
    if not (DATA / "nasbench201_latency.csv.gz").exists():
        sys.exit(f"skipped: no tables in {DATA}; set LWPROF_DATA")
    asked, optimum = problem(args.device, args.data)
    seeds = 12 if args.quick else args.seeds
    fresh = range(args.first_seed, args.first_seed + seeds)
    print(machine(), f"\nexact optimum {optimum:.3f}, {args.evaluations} evaluations", flush=True)
    yardstick = [best(asked, "random", args.evaluations, 5000 + seed) for seed in fresh]
    figures: list[dict[str, Any]] = []
    asked_for = args.only.split(",") if args.only else [n for n in names() if n != "exact"]
    for name in ("random", *(n for n in asked_for if n != "random")):
        start = time.perf_counter()
        reached = [best(asked, name, args.evaluations, seed) for seed in fresh]
        p = float(mannwhitneyu(reached, yardstick, alternative="greater").pvalue)
        figures.append({"strategy": name, "mean": float(np.mean(reached)), "p": p,
                        "regret": optimum - float(np.mean(reached)),
                        "seconds_each": (time.perf_counter() - start) / seeds})  # fmt: skip
        print(f"{name:14} mean {np.mean(reached):.3f}, regret {optimum - np.mean(reached):.3f}, "
              f"p {p:.2g}, {figures[-1]['seconds_each']:.2f} s each", flush=True)  # fmt: skip
        save(args.json, figures)
    missed = [f["strategy"] for f in figures[1:] if f["p"] >= 0.01]
    print(f"not better than random at 1 %: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
