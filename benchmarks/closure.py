"""Closure: do kernels and gap add up to the end-to-end time? Bars: median ≤ 2 %, p90 ≤ 5 %.

Per network: Σ kernels + gap over the end-to-end time of the same processes, beside the
naive sum of what the profiler reports.
"""

from __future__ import annotations

import tempfile

import numpy as np
from figures import arguments, machine, save
from networks import chosen, label

from lwprof import api
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.store import open_store


def naive_error(store: str, run: str) -> float:
    """Error of the sum of profiler nodes against the plain time, over the same blocks."""
    errors = []
    with open_store(store) as database:
        for block in database.blocks(run=run, arm="in_context"):
            view = reading.in_context(block.payload["script"], block.payload["record"])
            total = view.reported_s.sum(axis=1)
            errors.append(np.log(np.median(total) / view.end_to_end_s))
    return float(np.exp(np.mean(errors)) - 1)


def main() -> None:
    args = arguments(__doc__, threads=1, only="")
    networks = chosen(args.only)
    if args.quick:
        networks = [n for n in networks if label(n) in ("squeezenet1_1", "tiny_ops")]
    print(machine())
    print(f"{'network':22}{'kernels':>8}{'closure':>9}{'naive':>9}{'fit':>9}  end to end, verdict")
    rows, fit, total = [], 0, 0
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            store = f"{folder}/m.db"
            result = api.run_measurement(
                [network], device="host", settings=Settings(threads=args.threads),
                effort=Effort(budget_s=400, rel_ci=0.2, isolated=label(network) == "tiny_ops"), store=store,
            )  # fmt: skip
            naive = naive_error(store, result.run_id)
            with open_store(store) as database:
                flags = [b.flags for b in database.blocks(run=result.run_id, payload=False)
                         if b.arm in ("in_context", "end_to_end")]  # fmt: skip
        model = result.models[0]
        clean = sum(not f for f in flags)
        fit, total = fit + clean, total + len(flags)
        assert model.closure is not None
        rows.append({"network": label(network), "kernels": len(model.kernels),
                     "closure": model.closure.error, "naive": naive,
                     "fit": clean, "blocks": len(flags),
                     "latency_s": model.latency_s.to_json(), "verdict": model.verdict})  # fmt: skip
        print(f"{label(network):22}{len(model.kernels):8}{model.closure.error:+9.1%}{naive:+9.1%}"
              f"{clean:5}/{len(flags):<3}  {model.latency_s.value * 1e3:.3f} ms {model.verdict}",
              flush=True)  # fmt: skip
        save(args.json, rows)
    errors = np.abs([row["closure"] for row in rows])
    naive_errors = np.abs([row["naive"] for row in rows])
    print(f"closure: median {np.median(errors):.2%}, 90th percentile "
          f"{np.quantile(errors, 0.9):.2%}; naive: {np.median(naive_errors):.2%}, "
          f"{np.quantile(naive_errors, 0.9):.2%}; fit blocks {fit / max(1, total):.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
