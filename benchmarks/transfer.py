"""Few-shot transfer on NAS-Bench-201 by HELP's protocol: nine sources, six targets.

900 connected networks of each source; n connected networks of the target at random; Spearman
over the others, with and without the 341 unconnected networks. Bars: mean at least 0.960,
pixel2 at least 0.88, with 10 samples and 20 seeds. `eyeriss` and `fpga` are simulated columns,
`pixel2` is in whole milliseconds. Then one device with 100 samples (bars: at least 67 % and 66 %
within 10 % on raspi4 and pixel3), and interval coverage on the six targets.

    python benchmarks/transfer.py [--quick] [--json FILE] [--samples 10]
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

from lwprof.predictors import TableRegressor, TransferRegressor
from lwprof.search import space

DATA = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[2] / "shared" / "data"))
SOURCES = ("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50",
           "pixel3", "essential_ph_1", "samsung_s7")  # fmt: skip
TARGETS = {"titan_rtx_256": "measured", "gold_6226": "measured", "pixel2": "whole ms",
           "raspi4": "measured", "eyeriss": "simulated", "fpga": "simulated"}  # fmt: skip
LEVEL = 0.9


def ranks(values: Any) -> Any:
    return pd.Series(values).rank().to_numpy()


def spearman(a: Any, b: Any) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def scores(predicted: Any, truth: Any, alive: Any, rest: Any) -> dict[str, float]:
    error = np.abs(predicted[rest] / truth[rest] - 1)
    every = np.concatenate([rest, np.flatnonzero(~alive)])
    return {"rho": spearman(predicted[rest], truth[rest]),
            "rho_with_unconnected": spearman(predicted[every], truth[every]),
            "mape": float(error.mean()), "within_10": float((error <= 0.1).mean())}  # fmt: skip


def transfer(table: Any, codes: Any, n: int, seeds: int) -> dict[str, Any]:
    cells = space("nasbench201")
    alive = cells.connected(codes)
    connected = np.flatnonzero(alive)
    sources = {}
    for i, name in enumerate(SOURCES):
        rows = np.random.default_rng(1000 + i).permutation(connected)[:900]
        sources[name] = (codes[rows], table[name].to_numpy()[rows] / 1e3)
    model = TransferRegressor(cells, sources).prepare()
    figures: dict[str, Any] = {}
    for name, label in TARGETS.items():
        y = table[name].to_numpy() / 1e3
        found = []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(connected)
            few, rest = order[:n], order[n:]
            model.fit(codes[few], y[few])
            predicted = model.predict(codes)
            low, high = model.predict_interval(codes[rest], LEVEL)
            found.append(scores(predicted, y, alive, rest)
                         | {"coverage": float(((low <= y[rest]) & (y[rest] <= high)).mean()),
                            "width": float(np.median(high / low))})  # fmt: skip
        figures[name] = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        figures[name]["rho_sd"] = float(np.std([f["rho"] for f in found]))
        report(f"{name} ({label})", figures[name])
    figures["mean"] = {k: float(np.mean([figures[t][k] for t in TARGETS])) for k in found[0]}
    report("mean", figures["mean"])
    started = time.process_time()
    model.predict(codes)
    figures["predict_15625_s"] = time.process_time() - started
    print(f"15,625 networks in {figures['predict_15625_s'] * 1e3:.0f} ms of CPU time")
    return figures


def alone(table: Any, codes: Any) -> dict[str, Any]:
    cells, figures = space("nasbench201"), {}
    alive = cells.connected(codes)
    for name in ("raspi4", "pixel3"):
        y, found = table[name].to_numpy() / 1e3, []
        for seed in range(5):
            order = np.flatnonzero(alive)[np.random.default_rng(seed).permutation(alive.sum())]
            model = TableRegressor(cells).fit(codes[order[:100]], y[order[:100]])
            found.append(scores(model.predict(codes), y, alive, order[100:2600]))
        figures[name] = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        report(f"{name}, 100 samples, alone", figures[name])
    started = time.process_time()
    model.predict(codes)
    figures["predict_15625_s"] = time.process_time() - started
    print(f"15,625 networks in {figures['predict_15625_s'] * 1e3:.0f} ms of CPU time")
    return figures


def report(name: str, found: dict[str, float]) -> None:
    print(f"{name:28}", "  ".join(f"{k} {v:.3f}" for k, v in found.items()), flush=True)


def main() -> None:
    options = arguments(__doc__ or "", samples=10)
    path = DATA / "nasbench201_latency.csv.gz"
    if not path.exists():
        sys.exit(f"skipped: {path.name} is not in LWPROF_DATA")
    table = pd.read_csv(path, dtype={"ops": str})
    codes = space("nasbench201").encode(table.ops.tolist())
    print(machine())
    figures = {"alone": alone(table, codes)}
    save(options.json, figures)
    figures["transfer"] = transfer(table, codes, options.samples, 3 if options.quick else 20)
    save(options.json, figures)


if __name__ == "__main__":
    main()
