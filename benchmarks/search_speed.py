"""Speed of evolution, and whether derived networks meet their targets.

Bars: 50,000 candidates of the FBNet space under a latency limit in less than a second on one
core; the latency of derived networks within 5 % of the target on at least 95 % of targets.

    python benchmarks/search_speed.py [--quick] [--json FILE]
"""

from __future__ import annotations

import time

import numpy as np
from figures import arguments, machine, save

from lwprof.predictors.block_table import BlockTable
from lwprof.search import space
from lwprof.search.constraints import Constraints, Limit, Priced
from lwprof.search.differentiable.derive import derive
from lwprof.search.problem import Problem
from lwprof.search.strategies import run

CANDIDATES = 50_000


def evolution(runs: int) -> dict[str, float]:
    """Median seconds of evolution on a seeded table, and its share of the exact optimum."""
    fbnet, rng = space("fbnet"), np.random.default_rng(0)
    table = BlockTable(fbnet.choices, rng.random((22, 9, 1)) * 1e-3, [2e-3])
    merit, blocks = rng.random((22, 9)), np.arange(22)
    problem = Problem(fbnet, lambda codes: merit[blocks, codes].sum(axis=1),
                      Constraints([Limit("latency_s", 0.010)], [Priced(table)]), merit)  # fmt: skip
    exact = run(problem, "exact", 1, rng).merits[0]
    seconds, shares = [], []
    for seed in range(runs):
        start = time.perf_counter()
        trials = run(problem, "evolution", CANDIDATES, np.random.default_rng(seed))
        seconds.append(time.perf_counter() - start)
        found = trials.best()
        shares.append(0.0 if found is None else trials.merits[found] / exact)
    return {"seconds": float(np.median(seconds)), "share_of_optimum": float(np.mean(shares))}


def targets(n: int) -> float:
    """Share of random logits, tables and targets whose derived network is within 5 % below."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(n):
        table = BlockTable((9,) * 22, rng.random((22, 9, 1)) * 1e-3, [2e-3])
        sampled = table.predict(rng.integers(0, 9, size=(400, 22)))[:, 0]
        target = float(np.quantile(sampled, rng.uniform(0.05, 0.95)))
        code = derive(rng.normal(size=(22, 9)), table, target, within=0.05)
        if code is not None:
            latency = float(table.predict(code[None])[0, 0])
            hits += 0.95 * target <= latency <= target * (1 + 1e-9)
    return hits / n


def main() -> None:
    """Prints both figures."""
    args = arguments(__doc__ or "")
    figures = {"evolution": evolution(3 if args.quick else 11),
               "targets_within_5_percent": targets(20 if args.quick else 200)}  # fmt: skip
    print(machine(), figures, sep="\n")
    save(args.json, figures)


if __name__ == "__main__":
    main()
