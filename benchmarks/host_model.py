"""The host's kernel model from a campaign, against twenty networks that it never saw.

A campaign of ``--budget`` seconds chooses among all candidates but the twenty; their end-to-end
times are measured in fresh processes before, between and after its thirds, so that both see the
same weather of the machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import figures
import numpy as np
from networks import chosen, label

from lwprof import api
from lwprof.predictors.campaign import candidates
from lwprof.profiler.session.options import Effort, Settings

SETTINGS = Settings(threads=1)
PARTS = 3


def truth(store: str, names: list[str], budget_s: float, seed: int) -> dict[str, list[float]]:
    """Log medians of fresh processes by network."""
    effort = Effort(budget_s=budget_s, rel_ci=0.001, kernels=False, fresh=True, energy=False)
    result = api.run_measurement(
        names, device="host", settings=SETTINGS, effort=effort, store=store, seed=seed
    )
    return {m.name: [float(np.log(b["median_s"])) for b in m.blocks] for m in result.models}


def score(store: str, names: list[str], logs: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Predictions from the table and the regressor of ``store`` beside the truth."""
    cost = api.cost_model("host", store=store, threads=1, unknown="extrapolate")
    rows = []
    for name in names:
        told, seen = cost.explain(name), logs[label(name)]
        true = float(np.exp(np.mean(seen)))
        rows.append({
            "network": label(name), "truth_s": true, "processes": len(seen),
            "truth_error": float(np.std(seen, ddof=1) / np.sqrt(len(seen))) if len(seen) > 1 else None,
            "predicted_s": told.latency_s.value, "error": told.latency_s.value / true - 1,
            "inside": told.latency_s.low <= true <= told.latency_s.high, "sources": told.sources,
        })  # fmt: skip
    return rows


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints the table and the two bars."""
    for row in rows:
        spread = "?" if row["truth_error"] is None else f"{row['truth_error']:.1%}"
        print(f"{row['network']:22s} {row['truth_s'] * 1e3:8.2f} ms ± {spread}, predicted "
              f"{row['predicted_s'] * 1e3:8.2f} ms: {row['error']:+.1%}  {row['sources']}")  # fmt: skip
    off = np.abs([row["error"] for row in rows])
    found = {"median": float(np.median(off)), "within_10_percent": float(np.mean(off <= 0.1)),
             "worst": float(off.max()), "inside": float(np.mean([r["inside"] for r in rows]))}  # fmt: skip
    print(
        f"median {found['median']:.1%} (bar 5 %), within 10 % {found['within_10_percent']:.0%} "
        f"(bar 95 %), worst {found['worst']:.1%}; 95 % intervals hold {found['inside']:.0%}"
    )
    return found


def main() -> None:
    """Campaign, truths, fit, score."""
    options = figures.arguments(__doc__ or "", store="host_model.db", budget=1200.0, truth=600.0,
                                seed=1)  # fmt: skip
    names = chosen("resnet18,squeezenet1_1,mobilenet_v3_small" if options.quick else "")
    budget, each = (60.0, 20.0) if options.quick else (options.budget, options.truth / (PARTS + 1))
    others = [name for name in candidates() if name not in {label(n) for n in names}]
    apart = str(Path(options.store).with_suffix(".truth.db"))
    logs: dict[str, list[float]] = {}
    for part in range(PARTS + 1):
        for name, seen in truth(apart, names, each, options.seed + part).items():
            logs.setdefault(name, []).extend(seen)
        if part == PARTS:
            break
        started = time.monotonic()
        result = api.run_measurement(
            [], device="host", settings=SETTINGS, workloads_of=others, store=options.store,
            effort=Effort(budget_s=budget * (part + 1) / PARTS, energy=False), seed=options.seed,
        )  # fmt: skip
        print(f"part {part + 1} of the campaign: {len(result.kernels)} workloads, "
              f"{time.monotonic() - started:.0f} s")  # fmt: skip
        figures.save(options.json, {"truth": logs})
    fit = api.fit("host", store=options.store, threads=1)
    print(f"fitted on {fit.kernels} kernels")
    rows = score(options.store, names, logs)
    figures.save(options.json, {"networks": rows, "summary": report(rows), "truth": logs,
                                "kernels": fit.kernels})  # fmt: skip


if __name__ == "__main__":
    main()
