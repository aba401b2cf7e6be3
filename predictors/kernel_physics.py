"""What physics says of a kernel before its neighbours are asked: an additive roofline.

A kernel costs a constant (the call), its multiply-accumulates, the bytes that it moves and, where
it has no MACs, its operations per output. Where its time is known, a
power times that time may explain a part of its energy. Rates are never negative, so that more work
never costs less; each family of kernels has its own, drawn towards those of all kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lwprof.predictors.kernel_features import KernelFacts
from lwprof.predictors.space import Floats

_ROUNDS = 6
_PULL = 0.3
_SMALLEST = 1e-300


def work(all_facts: Sequence[KernelFacts], latency_s: Floats | None = None) -> Floats:
    """(n, 4): 1, MACs, bytes, and operations of kernels without MACs; (n, 5) with latencies."""
    rows = [
        (1.0, f.macs, f.bytes_moved, 0.0 if f.macs else f.elements * f.kernel) for f in all_facts
    ]
    amounts = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    return amounts if latency_s is None else np.column_stack([amounts, latency_s])


def rates(amounts: Floats, costs: Floats, usual: Floats | None = None) -> Floats:
    """(terms,) non-negative costs of each term that fit best in the ratio.

    Non-negative least squares on relative errors, reweighted so that large ones count by
    their logarithm rather than by their square.

    Args:
        amounts: (n, terms) from :func:`work`.
        costs: (n,) seconds or joules.
        usual: (terms,) rates that few samples are drawn towards.
    """
    from scipy.optimize import nnls  # for fitting alone: answers load without it

    relative = amounts / costs[:, None]
    scale = np.maximum(relative.mean(axis=0), _SMALLEST)
    weight = np.ones(len(costs))
    terms = amounts.shape[1]
    found = np.zeros(terms)
    for _ in range(_ROUNDS):
        rows, wanted = relative / scale * weight[:, None], weight
        if usual is not None:
            rows = np.vstack([rows, _PULL * np.eye(terms)])
            wanted = np.concatenate([wanted, _PULL * usual * scale])
        found = nnls(rows, wanted)[0] / scale
        off = np.log(prior(amounts, found, costs.min()) / costs)
        # Halfway from the square of the ratio to its logarithm, on either side.
        weight = np.exp(-np.maximum(off, 0) / 2) / np.sqrt(np.maximum(np.abs(off), 0.1))
    return np.asarray(found, dtype=np.float64)


def prior(amounts: Floats, found: Floats, least: float) -> Floats:
    """(n,) costs by the rates alone, no lower than a tenth of the least that was ever measured."""
    return np.asarray(np.maximum(amounts @ found, least / 10), dtype=np.float64)
