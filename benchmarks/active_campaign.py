"""Active choice of networks against random choice, replayed on a store that holds them all.

Every network of a finished campaign is a candidate once more, at the device time that it took. Some
are held out; the error is that of their kernels' sum, predicted by a fit of what was chosen so far.
The figure is how many device minutes random choice needs for the error that active choice has.
"""

from __future__ import annotations

from typing import Any

import figures
import numpy as np

from lwprof.predictors import KernelRegressor
from lwprof.predictors.campaign import Teaching
from lwprof.predictors.fitting import visited
from lwprof.predictors.visits import Occurrence, pooled
from lwprof.profiler.kernels import Workload
from lwprof.profiler.store import open_store

HELD = 0.25


class Recorded:
    """What a store knows of the networks of its one context."""

    def __init__(self, path: str) -> None:
        with open_store(path, readonly=True) as store:
            (context,) = [c for c in store.contexts(device="host") if store.facts(context=c.key)]
            self.workloads = {
                s.key: Workload.from_description(s.description, s.key)
                for s in store.subjects(kind="workload", context=context.key)
            }
            self.occurrences: dict[str, list[Occurrence]] = {}
            for o in visited(store, context):
                self.occurrences.setdefault(o.network, []).append(o)
            self.device_s = dict.fromkeys(self.occurrences, 0.0)
            for block in store.blocks():
                if block.subject in self.device_s:
                    self.device_s[block.subject] += float(block.payload["record"]["duration_s"])

    def kernels(self, network: str) -> list[Workload]:
        return [self.workloads[o.workload] for o in self.occurrences[network]]


def error(recorded: Recorded, train: list[str], held: list[str]) -> float:
    """Median over held-out networks of |predicted/measured − 1| of their kernels' sum."""
    table = pooled([o for name in train for o in recorded.occurrences[name]], {})
    model = KernelRegressor().fit([recorded.workloads[k] for k in table], list(table.values()))
    off = []
    for name in held:
        there = recorded.occurrences[name]
        guess = model.predict(recorded.kernels(name))
        told = [table.get(o.workload, g) for o, g in zip(there, guess, strict=True)]
        off.append(abs(sum(told) / sum(o.latency_s for o in there) - 1))
    return float(np.mean(np.minimum(off, 1.0)))


def replay(recorded: Recorded, active: bool, seed: int) -> list[tuple[float, float]]:
    """(device seconds, error) after each batch."""
    names = sorted(recorded.occurrences)
    np.random.default_rng(seed).shuffle(names)
    held, free = names[: int(len(names) * HELD)], names[int(len(names) * HELD) :]
    teaching = Teaching(free, recorded.kernels, seed, active)
    train: list[str] = []
    curve = []
    while batch := teaching.next(_costs(recorded, train)):
        train += batch
        spent = sum(recorded.device_s[name] for name in train)
        curve.append((spent, error(recorded, train, held)))
    return curve


def _costs(recorded: Recorded, train: list[str]) -> dict[str, tuple[Any, float]]:
    table = pooled([o for name in train for o in recorded.occurrences[name]], {})
    return {key: (recorded.workloads[key], cost) for key, cost in table.items()}


def minutes_to(curve: list[tuple[float, float]], target: float) -> float:
    """Device minutes after which the error stays at or below a target; infinite if never."""
    reached = [s for (s, _), tail in ((p, curve[i:]) for i, p in enumerate(curve))
               if all(e <= target for _, e in tail)]  # fmt: skip
    return min(reached, default=float("inf")) / 60


def main() -> None:
    """Prints curves and the ratio of minutes to the same error."""
    options = figures.arguments(__doc__ or "", store="host_model.db", seeds=8)
    recorded = Recorded(options.store)
    curves = {
        kind: [replay(recorded, kind == "active", seed)
               for seed in range(2 if options.quick else options.seeds)]
        for kind in ("active", "random")
    }  # fmt: skip
    longest = min(c[-1][0] for both in curves.values() for c in both)
    grid = np.linspace(longest / 10, longest, 10)
    mean = {}
    for kind, several in curves.items():
        mean[kind] = np.mean([np.interp(grid, *zip(*c, strict=True)) for c in several], axis=0)
        print(
            kind,
            " ".join(f"{s / 60:.1f} min {e:.1%}" for s, e in zip(grid, mean[kind], strict=True)),
        )
    ratios = []
    for place in range(len(grid)):
        pairs = [list(zip(grid, mean[kind], strict=True)) for kind in ("random", "active")]
        needed = [
            minutes_to([(float(s), float(e)) for s, e in p], float(mean["active"][place]))
            for p in pairs
        ]
        ratios.append(needed[0] / needed[1])
        print(
            f"error {mean['active'][place]:.1%}: random {needed[0]:.1f} min, active {needed[1]:.1f} min"
        )
    finite = [r for r in ratios if np.isfinite(r)]
    print(f"minutes of random over active: median {np.median(ratios):.2f} (bar 1.5), "
          f"{len(ratios) - len(finite)} of {len(ratios)} errors random never reached")  # fmt: skip
    figures.save(
        options.json, {"curves": curves, "ratios": [r if np.isfinite(r) else None for r in ratios]}
    )


if __name__ == "__main__":
    main()
