"""Energy of dense convolutions on a public table, from their shapes, and with their latency.

Table: 962 convolutions with one group of NEUSoftGreenAI/NeurstrucEnergy (external meter),
shuffled 5-fold, seed 0. Bars: from shape MAPE at most 14 %, at least 65 % within 10 %; with
the measured latency at most 5 % and at least 85 %. Beside them stand two lines fitted on the
same folds: constant power, and a power law of the measured latency.

    python benchmarks/convolution_energy.py [--json FILE]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import arguments, machine, save

from lwprof.predictors import KernelRegressor
from lwprof.profiler.kernels import workload

DATA = Path(os.environ.get("LWPROF_DATA", Path(__file__).parents[2] / "shared" / "data"))


def convolution(row: Any) -> Any:
    """A row's workload."""
    return workload(
        "Conv", inputs=[(row.n, row.cin, row.h_in, row.w_in), (row.cout, row.cin, row.kh, row.kw)],
        attributes={"pads": [row.ph, row.pw] * 2, "strides": [row.sh, row.sw],
                    "dilations": [row.dh, row.dw]},
    )  # fmt: skip


def main() -> None:
    options = arguments(__doc__ or "")
    path = DATA / "neurstruc_conv2d_energy.csv.gz"
    if not path.exists():
        sys.exit(f"skipped: {path.name} is not in LWPROF_DATA")
    table = pd.read_csv(path)
    table = table[table.groups == 1].reset_index(drop=True)
    works = [convolution(row) for row in table.itertuples()]
    energy, time = table.total_energy_J.to_numpy(), table.latency_ms.to_numpy() / 1e3
    # Some shapes were measured more than once: such rows keep to one fold, with their mean.
    keys = np.array([w.key for w in works])
    order = np.random.default_rng(0).permutation(len(table))
    answers: dict[str, Any] = {}
    for held in np.array_split(order, 5):
        kept = np.setdiff1d(order, held)
        once = kept[np.unique(keys[kept], return_index=True)[1]]
        train = [works[i] for i in once]
        test = [works[i] for i in held]
        shape = KernelRegressor(0).fit(train, energy[once])
        timed = KernelRegressor(0).fit(train, energy[once], latency_s=time[once])
        slope, offset = np.polyfit(np.log(time[kept]), np.log(energy[kept]), 1)
        power = np.exp(np.median(np.log(energy[kept] / time[kept])))
        found = {
            "shape": shape.predict(test), "shape and latency": timed.predict(test, time[held]),
            "power law": np.exp(offset) * time[held] ** slope, "constant power": power * time[held],
        }  # fmt: skip
        for name, values in found.items():
            answers.setdefault(name, np.empty(len(table)))[held] = values
        low, high = shape.predict_interval(test, 0.9)
        inside = (low <= energy[held]) & (energy[held] <= high)
        answers.setdefault("inside", np.empty(len(table)))[held] = inside
    figures = {}
    print(machine())
    print(f"{len(table)} convolutions, {len(set(keys))} different")
    for name in ("shape", "shape and latency", "power law", "constant power"):
        error = np.abs(answers[name] / energy - 1)
        figures[name] = {"mape": error.mean(), "within_10": (error <= 0.1).mean()}
        print(f"{name:20} MAPE {error.mean():6.1%}   within 10 % {(error <= 0.1).mean():6.1%}")
    figures["coverage_90"] = answers["inside"].mean()
    print(f"90 % intervals from shape cover {figures['coverage_90']:.1%}")
    save(options.json, figures)


if __name__ == "__main__":
    main()
