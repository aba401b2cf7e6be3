"""Search under limits on real tables: NAS-Bench-201 × CIFAR-100 accuracies × a device's latencies.

50 limits from the 5 % to the 95 % quantile of latency. The cost model sees 100 random networks
of the device (`raspi4`), or 20 and other devices' tables (the other columns); five networks may
be measured for each limit. Regret: accuracy points below the best network that truly meets the
limit. Bars: nothing unresolved, mean regret at most 0.30; the first pick, without measuring,
violates at most 5 % of limits at a regret of at most 0.7.

    python benchmarks/search_limits.py [--quick] [--json FILE] [--draws 10]

Column names are HELP's; `pixel2` and others are in whole milliseconds, `eyeriss` and `fpga` are
simulated and left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import arguments, machine, save

from lwprof.predictors import TableRegressor, TransferRegressor
from lwprof.search import pick, space

DATA = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[2] / "shared" / "data"))
SOURCES = ("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50",
           "essential_ph_1", "samsung_s7")  # fmt: skip
OTHERS = ("pixel3", "gold_6226", "gold_6240", "titan_rtx_256", "titanxp_32", "2080ti_256")
LIMITS, VERIFICATIONS = 50, 5


def judge(merit: Any, truth: Any, codes: Any, model: Any, known: dict[int, float]) -> Any:
    """(limits, 4): regret and unresolved when verified; regret and violation of the first pick.

    The first pick may not call ``measure``; networks measured for the fit are known to it.
    """
    rows = []
    for limit in np.quantile(truth, np.linspace(0.05, 0.95, LIMITS)):
        best = merit[truth <= limit].max()
        found = pick(merit, codes, model, limit=limit, measure=lambda i: truth[i],
                     verifications=VERIFICATIONS, known=known)  # fmt: skip
        first = pick(merit, codes, model, limit=limit, known=known)
        regret = np.nan if found.index is None else best - merit[found.index]
        violates = first.index is not None and truth[first.index] > limit
        loss = np.nan if first.index is None else max(best - merit[first.index], 0.0)
        rows.append((regret, found.index is None, loss, violates))
    return np.array(rows, dtype=float)


def summary(name: str, results: list[Any], samples: int) -> dict[str, Any]:
    rows = np.concatenate(results)
    figures = {
        "device": name, "samples": samples, "draws": len(results),
        "unresolved": int(rows[:, 1].sum()), "regret": float(np.nanmean(rows[:, 0])),
        "first_pick_violations": float(rows[:, 3].mean()),
        "first_pick_regret": float(np.nanmean(rows[:, 2])),
        "first_pick_none": int(np.isnan(rows[:, 2]).sum()),
    }  # fmt: skip
    print(f"{name:14} {samples:4} samples: unresolved {figures['unresolved']} of {len(rows)}, "
          f"regret {figures['regret']:.3f}; first pick violates "
          f"{100 * figures['first_pick_violations']:.1f} %, regret "
          f"{figures['first_pick_regret']:.2f}, none {figures['first_pick_none']}",
          flush=True)  # fmt: skip
    return figures


def main() -> None:
    """Runs every column and prints one line each."""
    args = arguments(__doc__ or "", draws=10)
    if not (DATA / "nasbench201_latency.csv.gz").exists():
        sys.exit(f"skipped: no tables in {DATA}; set LWPROF_DATA")
    latency = pd.read_csv(DATA / "nasbench201_latency.csv.gz", dtype={"ops": str})
    accuracy = pd.read_csv(DATA / "nasbench201_accuracy.csv.gz")
    table = latency.merge(accuracy[["index", "cifar100_test_acc"]], on="index")
    cells = space("nasbench201")
    codes = cells.encode(table["ops"].tolist())
    alive = cells.connected(codes)
    codes, merit = codes[alive], table["cifar100_test_acc"].to_numpy()[alive]
    draws, found = (1 if args.quick else args.draws), []
    times = {name: table[name].to_numpy()[alive] / 1e3 for name in ("raspi4", *SOURCES, *OTHERS)}
    print(machine())
    results = []
    for draw in range(draws):
        rows = np.random.default_rng(draw).permutation(len(codes))[:100]
        truth = times["raspi4"]
        model = TableRegressor(cells, random_state=draw).fit(codes[rows], truth[rows])
        known = dict(zip(rows.tolist(), truth[rows].tolist(), strict=True))
        results.append(judge(merit, truth, codes, model, known))
    found.append(summary("raspi4", results, 100))
    save(args.json, found)
    for name in OTHERS[:2] if args.quick else OTHERS:
        others = {}
        for i, source in enumerate(SOURCES):
            rows = np.random.default_rng(1000 + i).permutation(len(codes))[:900]
            others[source] = (codes[rows], times[source][rows])
        base, truth, results = TransferRegressor(cells, others).prepare(), times[name], []
        for draw in range(min(draws, 4)):
            rows = np.random.default_rng(draw).permutation(len(codes))[:20]
            model = base.fit(codes[rows], truth[rows])
            known = dict(zip(rows.tolist(), truth[rows].tolist(), strict=True))
            results.append(judge(merit, truth, codes, model, known))
        found.append(summary(name, results, 20))
        save(args.json, found)


if __name__ == "__main__":
    main()
