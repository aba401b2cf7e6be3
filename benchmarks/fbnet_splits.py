"""NASFLAT's device splits on FBNet, restricted to end-to-end columns, with 20 target samples.

800 networks of each source, 20 random networks of the target, ``--seeds`` seeds, Spearman over the
other networks. Bars: on every target better than a ridge on kernel counts, MACs and depth
without sources, and at least 95 % of each task's additive-fit ceiling (least squares on one-hot
codes of 4,000 networks, scored on the other 1,000). Columns that are exact sums of a table (raspi4,
pixel3, eyeriss, fpga) are left out as targets and as sources: they show additivity alone.

    python benchmarks/fbnet_splits.py [--quick] [--json FILE] [--seeds 5]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
from figures import arguments, machine, save
from transfer import DATA, spearman

from lwprof.predictors import TransferRegressor
from lwprof.search import space

ADDITIVE = ("raspi4", "pixel3", "eyeriss", "fpga")
SPLITS = {
    "F1": (("2080ti_1", "essential_ph_1", "silver_4114", "titan_rtx_1", "titan_rtx_32"),
           ("samsung_a50", "samsung_s7")),
    "F2": (("essential_ph_1", "gold_6226", "gold_6240"),
           ("1080ti_1", "1080ti_32", "2080ti_32", "titan_rtx_1", "titanxp_1")),
    "F3": (("essential_ph_1", "pixel2", "samsung_s7"),
           ("1080ti_1", "1080ti_32", "2080ti_1", "titan_rtx_1", "titan_rtx_32")),
    "F4": (("1080ti_64", "2080ti_1", "gold_6226", "gold_6240", "samsung_s7", "silver_4210r",
            "titan_rtx_1", "titan_rtx_32"), ("1080ti_1", "pixel2", "essential_ph_1")),
    "FA": (tuple(f"{gpu}_{batch}" for gpu in ("1080ti", "2080ti", "titan_rtx", "titanx", "titanxp")
                 for batch in (1, 32, 64)),
           ("gold_6226", "essential_ph_1", "samsung_s7", "pixel2")),
}  # fmt: skip
SAMPLES, EACH = 20, 800


def ceiling(codes: Any, y: Any) -> float:
    """What an additive table of many networks reaches."""
    hot = np.eye(9)[codes].reshape(len(codes), -1)
    order = np.random.default_rng(0).permutation(len(codes))
    kept, held = order[:4000], order[4000:]
    found = np.linalg.lstsq(hot[kept], y[kept], rcond=None)[0]
    return spearman(hot[held] @ found, y[held])


def plain_ridge(counts: Any, y: Any, few: Any) -> Any:
    """Ridge on counts of blocks, MACs and depth; penalty by leave-one-out."""
    x = (counts - counts[few].mean(axis=0)) / np.maximum(counts[few].std(axis=0), 1e-9)
    mean = y[few].mean()
    best: tuple[float, Any] = (np.inf, None)
    for penalty in np.logspace(-3, 3, 25):
        inverse = np.linalg.inv(x[few].T @ x[few] + penalty * np.eye(x.shape[1]))
        hat = x[few] @ inverse @ x[few].T + 1 / len(few)
        off = (y[few] - mean - x[few] @ inverse @ x[few].T @ (y[few] - mean)) / (1 - np.diag(hat))
        if (off**2).sum() < best[0]:
            best = (float((off**2).sum()), mean + x @ inverse @ x[few].T @ (y[few] - mean))
    return best[1]


def main() -> None:
    options = arguments(__doc__ or "", seeds=5)
    path = DATA / "fbnet_latency.csv.gz"
    if not path.exists():
        sys.exit(f"skipped: {path.name} is not in LWPROF_DATA")
    table = pd.read_csv(path, dtype={"arch": str})
    blocks = space("fbnet")
    codes = blocks.encode(table.arch.tolist())
    mmacs = np.asarray(blocks.mmacs(codes), dtype=float)
    counts = np.column_stack([*((codes == choice).sum(axis=1) for choice in range(9)), mmacs])
    print(machine())
    found: dict[str, Any] = {}
    for task, (sources, targets) in SPLITS.items():
        given = {}
        for i, name in enumerate(sources):
            rows = np.random.default_rng(1000 + i).permutation(len(codes))[:EACH]
            given[name] = (codes[rows], table[name].to_numpy()[rows] / 1e3)
        model = TransferRegressor(blocks, given).prepare()
        for target in targets:
            y = table[target].to_numpy() / 1e3
            top, ours, plain = ceiling(codes, y), [], []
            for seed in range(1 if options.quick else options.seeds):
                order = np.random.default_rng(seed).permutation(len(codes))
                few, rest = order[:SAMPLES], order[SAMPLES:]
                model.fit(codes[few], y[few])
                ours.append(spearman(model.predict(codes[rest]), y[rest]))
                plain.append(spearman(plain_ridge(counts, y, few)[rest], y[rest]))
            row = {"lwprof": float(np.mean(ours)), "ridge": float(np.mean(plain)), "ceiling": top,
                   "share_of_ceiling": float(np.mean(ours)) / top}  # fmt: skip
            found[f"{task} {target}"] = row
            print(f"{task} {target:16}", "  ".join(f"{k} {v:.3f}" for k, v in row.items()),
                  flush=True)  # fmt: skip
            save(options.json, found)
    better = sum(f["lwprof"] > f["ridge"] for f in found.values())
    near = sum(f["share_of_ceiling"] >= 0.95 for f in found.values())
    print(f"better than the ridge on {better} of {len(found)} (bar: all); at least 95 % of the "
          f"ceiling on {near} (bar: all)")  # fmt: skip


if __name__ == "__main__":
    main()
