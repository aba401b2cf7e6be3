"""What a visit of a network was off by: a machine is not as fast in one minute as in the next.

All kernels of a network are measured in the same few processes, so they share how fast the machine
was just then. Networks share kinds of kernels; what a fit of all of them leaves over in one network
is that visit's speed, and is taken out before the final fit (a random effect by network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.predictors.kernel_regressor import KernelRegressor
from lwprof.predictors.space import Floats

SCATTER = 0.12
"""How much visits differ, in the log, before anything is known."""
_KERNEL = 0.15
_SAME = 8.0
"""Kernels of one network are alike: they tell as much as this many that are independent, at most"""
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One kernel of one network's visit: seconds."""

    network: str
    workload: str
    latency_s: float


def speeds(
    occurrences: Sequence[Occurrence], workloads: Mapping[str, Any], random_state: int = 0
) -> dict[str, float]:
    """By network, the log of how much slower its visit was than the others; mean zero.

    Args:
        occurrences: every positive time of every kernel in every network.
        workloads: by key.
    """
    names = sorted({o.network for o in occurrences})
    found = dict.fromkeys(names, 0.0)
    if len(names) < 3:
        return found
    for _ in range(_ROUNDS):
        costs = pooled(occurrences, found)
        keys = list(costs)
        model = KernelRegressor(random_state, trees=0)
        model.fit([workloads[key] for key in keys], [costs[key] for key in keys])
        expected = np.log([costs[key] for key in keys]) + model.left_out_
        found = _left_over(occurrences, dict(zip(keys, expected, strict=True)), names)
    return found


def pooled(occurrences: Sequence[Occurrence], slower: Mapping[str, float]) -> dict[str, float]:
    """By workload, the geometric mean of its times, each freed of what its visit was off by."""
    logs: dict[str, list[float]] = {}
    for o in occurrences:
        value = float(np.log(o.latency_s)) - slower.get(o.network, 0.0)
        logs.setdefault(o.workload, []).append(value)
    return {key: float(np.exp(np.mean(values))) for key, values in logs.items()}


def _left_over(
    occurrences: Sequence[Occurrence], expected: Mapping[str, float], names: Sequence[str]
) -> dict[str, float]:
    """Median over a network's kernels, by time, drawn towards nothing where they are few."""
    rest: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for o in occurrences:
        off = float(np.log(o.latency_s)) - expected[o.workload]
        rest[o.network].append((off, o.latency_s))
    found = {}
    for name, pairs in rest.items():
        off, weight = np.array(pairs).T
        told = min(_effective(weight), _SAME)
        trust = SCATTER**2 / (SCATTER**2 + _KERNEL**2 / told)
        found[name] = trust * weighted_median(off, weight)
    middle = float(np.median(list(found.values())))
    return {name: value - middle for name, value in found.items()}


def _effective(weight: Floats) -> float:
    """How many equal weights tell as much as these."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def weighted_median(values: Floats, weight: Floats) -> float:
    """The value at which half of the weight is reached."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) - weight[order] / 2
    return float(np.interp(weight.sum() / 2, reached, values[order]))
