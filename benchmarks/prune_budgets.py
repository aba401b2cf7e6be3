"""Pruning to latency budgets on this host: are they met as measured, and used?

    python benchmarks/prune_budgets.py --store S --json J [--folder F] [--quick] [--runs N]

Networks × limits (shares of the network's own measured latency). Every run prunes as ``lwprof
prune`` does, to the end; then the network that it returned is measured once more, from new
processes that the pruning has not seen. The last limit of every network cannot be met: the answer
must be a reachable minimum above it. Goes on from the JSON file, and within a run from the
folder, where it was stopped.

Bars: met as measured (interval's upper end) on at least 95 % of runs, landing within 10 % under
the limit; infeasible limits answered with the reachable minimum.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from figures import arguments, save

import lwprof
from lwprof.errors import LwprofError

NETWORKS = (
    "resnet8", "ds_cnn", "mcunet_in0", "mobilenet_v1_025_96", "shufflenet_v2_x0_5",
    "squeezenet1_1", "mobilenet_v3_small", "mcunet_in2", "mobilenet_v2",
)  # fmt: skip
SHARES = (0.85, 0.7, 0.55, 0.4)
IMPOSSIBLE = 0.02
MET, LOWEST = 0.95, 0.9
MEASURE_S = 8.0


def measured(model: Any, store: str | None, seed: int) -> Any:
    """Latency of a network, seconds, from processes of its own."""
    result = lwprof.measure([model], "host", kernels=False, threads=1, budget_s=MEASURE_S,
                            store=store, seed=seed, fresh=True)  # fmt: skip
    return result.models[0].latency_s


def one(name: str, share: float, whole_s: float, chosen: Any) -> dict[str, Any]:
    """One network pruned to one limit."""
    started = time.monotonic()
    limit = share * whole_s
    state = Path(chosen.folder) / f"{name}_{share:g}.json"
    result = lwprof.prune(name, "host", latency_s=limit, threads=1, store=chosen.store,
                          state=state, budget_s=MEASURE_S, seed=1)  # fmt: skip
    row: dict[str, Any] = {
        "network": name, "share": share, "limit_s": limit, "feasible": result.feasible,
        "minimum_s": result.minimum, "rounds": len(result.steps), "priced_by": result.priced_by,
        "whole_s": whole_s,
    }  # fmt: skip
    if result.after is not None and result.after.measured is not None:
        again = measured(result.model, chosen.store, 7)
        row |= {
            "predicted_s": result.after.predicted, "measured_s": result.after.measured.value,
            "upper_s": result.after.measured.high, "macs": result.after.macs,
            "whole_macs": result.before.macs, "again_s": again.value,
            "again_low_s": again.low, "again_upper_s": again.high,
        }  # fmt: skip
    return row | {"seconds": time.monotonic() - started}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The bars over the runs so far."""
    possible = [r for r in rows if r["share"] > IMPOSSIBLE]
    pruned = [r for r in possible if "upper_s" in r]
    met = [r for r in pruned if r["upper_s"] <= r["limit_s"]]
    landed = [r for r in met if r["upper_s"] >= LOWEST * r["limit_s"]]
    again = [r for r in pruned if r["again_s"] <= r["limit_s"]]
    broken = [r for r in pruned if r["again_low_s"] > r["limit_s"]]
    never = [r for r in rows if r["share"] == IMPOSSIBLE]
    answered = [r for r in never if not r["feasible"] and r["minimum_s"] > r["limit_s"]]
    close = [r for r in pruned if abs(r["predicted_s"] / r["measured_s"] - 1) <= 0.1]
    # An answer that no smaller network was found counts as met only if none was found elsewhere.
    refused = [r for r in possible if not r["feasible"]]
    return {
        "runs": len(possible), "met": len(met), "landed": len(landed),
        "said_infeasible": [f"{r['network']} {r['share']}" for r in refused],
        "again_below": len(again), "again_proven_above": len(broken),
        "predicted_within_10_percent": len(close), "pruned": len(pruned),
        "impossible": len(never), "answered_with_minimum": len(answered),
    }  # fmt: skip


def main() -> None:
    """Runs what is missing and prints the figures after each run."""
    chosen = arguments(__doc__ or "", store=None, folder="prune_budgets", runs=0)
    Path(chosen.folder).mkdir(parents=True, exist_ok=True)
    path = Path(chosen.json) if chosen.json else None
    stored = json.loads(path.read_text())["figures"] if path and path.exists() else {}
    rows, wholes = list(stored.get("runs", [])), dict(stored.get("wholes", {}))
    seen = {(row["network"], row["share"]) for row in rows}
    count = 0
    for share in (*SHARES, IMPOSSIBLE):
        for name in NETWORKS[:3] if chosen.quick else NETWORKS:
            if (name, share) in seen:
                continue
            if chosen.runs and count >= chosen.runs:
                return
            count += 1
            if name not in wholes:
                wholes[name] = measured(name, chosen.store, 3).value
            try:
                rows.append(one(name, share, wholes[name], chosen))
            except LwprofError as error:
                print(name, share, error, flush=True)
                continue
            result = summary(rows)
            save(chosen.json, {"summary": result, "wholes": wholes, "runs": rows})
            print(f"{name} {share:g}: {rows[-1]['seconds']:.0f} s", json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
