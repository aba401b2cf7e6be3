"""How often does a comparison say "different", "same" or nothing? On simulated pairs.

Bars: false "different" in at most 5 % of all pairs of equal networks; a planted 5 %
slowdown found in at least 90 % of all pairs (not of decided ones) where pairs spread by
at most 8 %; abstention at most 15 % where they spread by at most 5 %.

The same verdict taken from a plain t test at the same looks stands beside it: on pairs that
hang together it sees differences that are none.

    python benchmarks/simulated_comparison.py [--quick] [--json FILE] [--comparisons 2000]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import arguments, machine, save

from lwprof.profiler.statistics import PairedDesign
from lwprof.profiler.statistics.intervals import sequential_level
from lwprof.profiler.statistics.serial import MeanError, mean_error
from lwprof.profiler.statistics.simulate import PAIR_NOISES, pair_noise
from lwprof.profiler.statistics.student import Floats
from lwprof.profiler.statistics.verdict import judge

SPREADS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10)
SLOWDOWN = 1.05
MARGIN = 0.03


def plain_error(pairs: Floats) -> MeanError:
    """A plain t test in the same clothes: one component, independent pairs."""
    count = pairs.shape[1]
    error = pairs.std(axis=1, ddof=1) / np.sqrt(count)
    return MeanError(np.ones((1, len(pairs))), error[None, :], count - 1)


def decide(noise: Floats, effect: float, plain: bool = False) -> dict[str, float]:
    """Shares of each verdict over the rows of ``noise`` shifted by ``effect`` (log ratio)."""
    design = PairedDesign()
    pairs = noise + effect
    verdict: npt.NDArray[np.int_] = np.zeros(len(pairs), dtype=np.int_)
    used, covered = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=bool)
    open_ = np.ones(len(pairs), dtype=bool)
    for look in design.looks:
        index = np.flatnonzero(open_)
        if not index.size:
            break
        seen = pairs[index, :look]
        error = plain_error(seen) if plain else mean_error(seen)
        found = judge(seen, error, MARGIN)
        ends = (found > 0) | (look == design.looks[-1])
        half = error.half_width(0.95 if plain else sequential_level(0.95))
        verdict[index], used[index] = found, look
        covered[index] = np.abs(seen.mean(axis=1) - effect) <= half
        open_[index[ends]] = False
    return {
        "same": float(np.mean(verdict == 1)),
        "different": float(np.mean(verdict == 2)),
        "undecided": float(np.mean(verdict == 0)),
        "pairs": float(used.mean()),
        "ratio_coverage": float(covered.mean()),
    }


def cell(kind: str, spread: float, count: int, seed: int) -> dict[str, Any]:
    """Equal networks and a planted slowdown, for one kind of noise and one spread."""
    rng = np.random.default_rng([seed, PAIR_NOISES.index(kind), int(1000 * spread)])
    noise = pair_noise(kind, count, PairedDesign().looks[-1], rng, spread)
    effect = math.log(SLOWDOWN)
    return {
        "noise": kind,
        "spread": spread,
        "equal": decide(noise, 0.0),
        "slower": decide(noise, effect),
        "equal_plain_t": decide(noise, 0.0, plain=True),
        "slower_plain_t": decide(noise, effect, plain=True),
    }


def main() -> None:
    args = arguments(__doc__, comparisons=2000, seed=1)
    count = 300 if args.quick else args.comparisons
    print(machine(), flush=True)
    print(f"{count} comparisons a row; looks at {PairedDesign().looks} pairs, margin {MARGIN:.0%}")
    print(f"{'':28}{'equal networks':^44}{'5 % slower':^36}{'plain t':^18}")
    print(f"{'noise':22}{'spread':>6}{'different':>11}{'same':>8}{'undecided':>11}{'pairs':>7}"
          f"{'cover':>7}{'found':>9}{'undecided':>11}{'pairs':>7}{'cover':>7}"
          f"{'false':>9}{'found':>8}")  # fmt: skip
    rows: list[dict[str, Any]] = []
    for kind in PAIR_NOISES:
        for spread in SPREADS:
            row = cell(kind, spread, count, args.seed)
            rows.append(row)
            same, slow = row["equal"], row["slower"]
            print(f"{kind:22}{spread:6.0%}{same['different']:11.1%}{same['same']:8.1%}"
                  f"{same['undecided']:11.1%}{same['pairs']:7.0f}{same['ratio_coverage']:7.1%}"
                  f"{slow['different']:9.1%}{slow['undecided']:11.1%}{slow['pairs']:7.0f}"
                  f"{slow['ratio_coverage']:7.1%}{row['equal_plain_t']['different']:9.1%}"
                  f"{row['slower_plain_t']['different']:8.1%}", flush=True)  # fmt: skip
            save(args.json, {"rows": rows})
    save(args.json, {"rows": rows, "bars": _bars(rows)})


def _bars(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    bars: dict[str, dict[str, float]] = {}
    for name, kinds in (
        ("independent pairs", ("gaussian", "heavy_tailed", "bimodal")),
        ("pairs that hang together", ("autocorrelated_0.3", "autocorrelated_0.6")),
    ):
        some = [row for row in rows if row["noise"] in kinds]
        bars[name] = {
            "false_different": max(row["equal"]["different"] for row in some),
            "found": min(row["slower"]["different"] for row in some if row["spread"] <= 0.08),
            "abstained": max(row["equal"]["undecided"] for row in some if row["spread"] <= 0.05),
        }
        found = bars[name]
        print(f"{name}: false different at most {found['false_different']:.1%} (bar 5 %), "
              f"5 % slowdown found at least {found['found']:.1%} at spreads up to 8 % (bar 90 %), "
              f"abstained at most {found['abstained']:.1%} up to 5 % (bar 15 %)")  # fmt: skip
    return bars


if __name__ == "__main__":
    main()
