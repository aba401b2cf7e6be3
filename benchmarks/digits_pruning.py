"""Energy at matched accuracy on digits: energy-aware pruning against magnitude baselines.

    python benchmarks/digits_pruning.py [--quick] [--json FILE] [--seeds 10]

A network of 14 k parameters and its recipe are frozen in ``digits_network``. Energy is that of
the simulated accelerator. Every method walks the same ladder of budgets from the same trained
network with the same fine-tuning (same epochs, same teacher); only what is removed, and the
closed-form repair, differ. A method's gain is the largest energy ratio at which the test accuracy
is at most 0.5 points below the original's.

Bars: at least 3.5 × less energy, and 1.4 × the best baseline, medians over seeds, paired.
"""

from __future__ import annotations

import time
from typing import Any

import figures
import numpy as np
import torch
from digits_network import EPOCHS, RATE, data, network, shifted
from onnx import numpy_helper

from lwprof.compression.distillation.training import accuracy, finetune
from lwprof.compression.pruning.accelerator import network_energy_j, network_work
from lwprof.compression.pruning.energy_aware import energy_aware
from lwprof.compression.pruning.least_squares import put_weight

LADDER = (2.0, 2.6, 3.3, 4.1, 5.0, 6.0)
TUNING_EPOCHS, TUNING_RATE = 5, 1e-3
POINTS = 0.005
BASELINES = ("uniform", "global", "per-energy")


def by_magnitude(model: Any, feeds: Any, limit_j: float, kind: str) -> Any:
    """Magnitude pruning to an energy: thresholds per layer, for all, or on magnitude per joule."""
    works = network_work(model, feeds)
    scores = []
    for work in works:
        size = np.abs(work.layer.weight)
        if kind == "uniform":  # rank within the layer
            size = (np.argsort(np.argsort(size, axis=None)) / size.size).reshape(size.shape) + 1e-9
        scores.append(np.square(size) / work.per_weight if kind == "per-energy" else size)
    every = np.unique(np.concatenate([s.ravel() for s in scores]))
    low, high, best = 0, len(every) - 1, None
    while low < high:
        middle = (low + high) // 2
        trial = type(model)()
        trial.CopyFrom(model)
        for work, score in zip(works, scores, strict=True):
            put_weight(trial, work.layer, np.where(score >= every[middle], work.layer.weight, 0))
        if network_energy_j(trial, feeds) <= limit_j:
            high, best = middle, trial
        else:
            low = middle + 1
    return best if best is not None else model


def walk(kind: str, trained: Any, split: Any, feeds: Any, seed: int) -> list[Any]:
    """(energy ratio, accuracy) at every rung, until accuracy is lost on two rungs in a row."""
    x, y, test, classes = split
    full, base = network_energy_j(trained, feeds), accuracy(trained, test, classes)
    current, rungs, failures = trained, [], 0
    for ratio in LADDER:
        if kind == "energy-aware":
            current = energy_aware(current, trained, feeds, full / ratio, seed)
        else:
            current = by_magnitude(current, feeds, full / ratio, kind)
        current = finetune(current, x, y, epochs=TUNING_EPOCHS, rate=TUNING_RATE, seed=seed,
                           teacher=trained, augment=shifted)  # fmt: skip
        found = accuracy(current, test, classes)
        rungs.append((full / network_energy_j(current, feeds), found))
        failures = failures + 1 if found < base - POINTS - 1e-9 else 0
        if failures == 2:
            break
    return rungs


def gain(rungs: list[Any], base: float) -> float:
    """The largest energy ratio within the points allowed; 1 where none is."""
    return max([ratio for ratio, found in rungs if found >= base - POINTS - 1e-9], default=1.0)


def one_seed(seed: int) -> dict[str, Any]:
    """Trains a network and prunes it by every method."""
    started = time.monotonic()
    split = data(seed)
    trained = finetune(network(seed), split[0], split[1], epochs=EPOCHS, rate=RATE, seed=seed,
                       keep_zeros=False, augment=shifted)  # fmt: skip
    base = accuracy(trained, split[2], split[3])
    feeds = [{"x": split[0][i * 64 : i * 64 + 64]} for i in range(4)]
    walks = {kind: walk(kind, trained, split, feeds, seed)
             for kind in ("energy-aware", *BASELINES)}  # fmt: skip
    return {"seed": seed, "accuracy": base, "walks": walks,
            "gains": {kind: gain(rungs, base) for kind, rungs in walks.items()},
            "seconds": time.monotonic() - started}  # fmt: skip


def main() -> None:
    """Runs the seeds and prints medians beside the bars."""
    given = figures.arguments(__doc__ or "", seeds=10)
    torch.set_num_threads(1)
    weights = sum(numpy_helper.to_array(t).size for t in network(0).graph.initializer)
    rows: list[dict[str, Any]] = []
    for seed in range(2 if given.quick else given.seeds):
        rows.append(one_seed(seed))
        told = "  ".join(f"{kind} {value:.2f}" for kind, value in rows[-1]["gains"].items())
        print(f"seed {seed}: accuracy {rows[-1]['accuracy']:.4f}  {told}  "
              f"{rows[-1]['seconds']:.0f} s", flush=True)  # fmt: skip
        figures.save(given.json, rows)
    kinds = rows[0]["gains"]
    median = {kind: float(np.median([row["gains"][kind] for row in rows])) for kind in kinds}
    print(f"{weights} parameters, median accuracy {np.median([r['accuracy'] for r in rows]):.4f}")
    for kind, value in median.items():
        print(f"  {kind:24} {value:.2f} × less energy")
    ratios = [row["gains"]["energy-aware"] / max(row["gains"][k] for k in BASELINES)
              for row in rows]  # fmt: skip
    print(f"energy-aware ÷ best baseline, equally tuned: {np.median(ratios):.2f} (bar 1.4); "
          f"energy {median['energy-aware']:.2f} × (bar 3.5)")  # fmt: skip


if __name__ == "__main__":
    main()
