"""Do 90 % intervals from few networks hold 90 %, on every measured column of NAS-Bench-201?

``--draws`` random sets of ``--samples`` connected networks of each column; the share of 2,000 other
connected networks that lies inside. Bars: 87 to 93 % in every column, 89 to 92 % pooled, and a mean
width of at most twice that of the conformal interval of a model of the same kind fitted on 12,000
networks. Simulated columns are left out; columns in whole milliseconds are marked.

    python benchmarks/interval_coverage.py [--quick] [--json FILE] [--samples 10] [--draws 200]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
from figures import arguments, machine, save
from transfer import DATA, LEVEL, SOURCES

from lwprof.predictors import TableRegressor, TransferRegressor
from lwprof.search import space

SIMULATED = ("eyeriss", "fpga")
WHOLE = ("pixel2", "essential_ph_1", "samsung_a50", "samsung_s7")
LARGE = 12_000
ASKED = 2_000


def column(cells: Any, codes: Any, y: Any, n: int, draws: int, model: Any) -> dict[str, float]:
    """Coverage and width of one column; ``model()`` makes what is fitted on each draw."""
    inside, width = [], []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(codes))
        few, rest = order[:n], order[n : n + ASKED]
        low, high = model().fit(codes[few], y[few]).predict_interval(codes[rest], LEVEL)
        inside.append(float(((low <= y[rest]) & (y[rest] <= high)).mean()))
        width.append(float(((high - low) / y[rest]).mean()))
    order = np.random.default_rng(0).permutation(len(codes))
    large = TableRegressor(cells).fit(codes[order[:LARGE]], y[order[:LARGE]])
    low, high = large.predict_interval(codes[order[LARGE:]], LEVEL)
    best = float(((high - low) / y[order[LARGE:]]).mean())
    return {"coverage": float(np.mean(inside)), "worst_decile": float(np.quantile(inside, 0.1)),
            "width": float(np.mean(width)), "width_of_12000": best,
            "width_ratio": float(np.mean(width)) / best}  # fmt: skip


def main() -> None:
    options = arguments(__doc__ or "", samples=10, draws=200, transfer=0)
    path = DATA / "nasbench201_latency.csv.gz"
    if not path.exists():
        sys.exit(f"skipped: {path.name} is not in LWPROF_DATA")
    table = pd.read_csv(path, dtype={"ops": str})
    cells = space("nasbench201")
    codes = cells.encode(table.ops.tolist())
    alive = cells.connected(codes)
    names = [c for c in table.columns[4:] if c not in SIMULATED]
    draws = 10 if options.quick else options.draws
    make: Any = lambda: TableRegressor(cells)
    if options.transfer:
        sources = {}
        for i, name in enumerate(SOURCES):
            rows = np.random.default_rng(1000 + i).permutation(np.flatnonzero(alive))[:900]
            sources[name] = (codes[rows], table[name].to_numpy()[rows] / 1e3)
        prepared = TransferRegressor(cells, sources).prepare()
        make = lambda: prepared
        names = [name for name in names if name not in SOURCES]
    print(machine())
    found: dict[str, Any] = {}
    for name in names:
        y = table[name].to_numpy()[alive] / 1e3
        found[name] = column(cells, codes[alive], y, options.samples, draws, make)
        mark = " (whole ms)" if name in WHOLE else ""
        print(f"{name + mark:28}", "  ".join(f"{k} {v:.3f}" for k, v in found[name].items()),
              flush=True)  # fmt: skip
        save(options.json, found)
    covered = np.array([f["coverage"] for f in found.values()])
    ratios = np.array([f["width_ratio"] for f in found.values()])
    print(
        f"{((covered >= 0.87) & (covered <= 0.93)).sum()} of {len(covered)} columns within "
        f"87-93 % (bar: all); pooled {covered.mean():.1%} (bar 89-92 %); width ratio "
        f"{np.median(ratios):.2f} in the median, {(ratios <= 2).sum()} of {len(ratios)} at most 2"
    )


if __name__ == "__main__":
    main()
