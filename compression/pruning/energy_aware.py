"""Energy-aware pruning (Yang, Chen, Sze, CVPR 2017), unstructured.

Layers are taken by energy, largest first. In each, (1) the smallest weights go, more of them
than needed; (2) those whose return lowers the ℓ1 error of the layer's outputs most come back;
(3) least squares fits the survivors. How many weights a layer keeps follows from one threshold
on error per joule over the whole network, so that energy is saved where it costs least.
Fine-tuning comes afterwards (``lwprof.compression.distillation.training``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer
from lwprof.compression.pruning.accelerator import MAC_ENERGY_J, Work, network_work
from lwprof.compression.pruning.least_squares import fit, fold_out, put_weight, unfold
from lwprof.compression.running import Running

# Share of the kept weights that is chosen by the outputs' error instead of magnitude.
RESTORED = 0.2
_ROWS, _ROUNDS, _KEPT_AT_LEAST = 1024, 4, 0.02


def energy_aware(model: Any, original: Any, feeds: Sequence[Any], limit_j: float,
                 seed: int = 0) -> Any:  # fmt: skip
    """Prunes weights until the simulated energy of the accelerator is below a limit.

    Args:
        model: an ``onnx.ModelProto``, perhaps pruned already.
        original: the network whose layers' answers are kept; the same nodes.
        feeds: calibration batches that fit the model.
        limit_j: joules per inference of one sample.

    Returns:
        an ``onnx.ModelProto`` of the same shapes with more noughts among its weights.
    """
    works = [w for w in network_work(model, feeds)
             if not isinstance(w.layer, ConvLayer) or w.layer.groups == 1]  # fmt: skip
    everything = sum(w.energy_j for w in network_work(model, feeds))
    pruned = type(model)()
    pruned.CopyFrom(model)
    grams = [_second_moments(pruned, work, feeds, seed) for work in works]
    densities = _allocate(works, grams, limit_j, everything)
    by_energy = sorted(range(len(works)), key=lambda i: -works[i].energy_j)
    for place in by_energy:
        layer = works[place].layer
        rows, targets = _calibration(pruned, original, layer, feeds, seed)
        flat = layer.weight.reshape(len(layer.weight), -1).astype(np.float64)
        alive = choose(rows, flat, densities[place])
        fitted = fit(rows, targets - layer.bias, flat, alive)
        put_weight(pruned, layer, fitted.reshape(layer.weight.shape))
    return pruned


def choose(rows: Any, weight: Any, density: float) -> Any:
    """Which weights of a layer live: the largest, and those that the outputs miss most.

    Args:
        rows: (n, inputs) what the layer reads.
        weight: (out, inputs).
        density: share to keep.

    Returns:
        (out, inputs) of bool with about ``density`` of them true.
    """
    present = weight != 0
    wanted = round(density * weight.size)
    if wanted >= np.count_nonzero(present):
        return present
    large = max(1, int(wanted * (1 - RESTORED)))
    bar = np.partition(np.abs(weight).ravel(), -large)[-large]
    alive = (np.abs(weight) >= bar) & present
    for left in range(_ROUNDS, 0, -1):
        missing = wanted - np.count_nonzero(alive)
        if missing <= 0:
            break
        gains = _gains(rows, weight, alive)
        count = min(-(-missing // left), int(np.isfinite(gains).sum()))
        if count:
            top = np.argpartition(gains.ravel(), -count)[-count:]
            alive.ravel()[top] = True
    return alive


def _gains(rows: Any, weight: Any, alive: Any) -> Any:
    """Fall of Σ|error| of each output when one weight returns; −∞ for those that live."""
    missing = np.where(alive, 0.0, weight)
    errors = rows @ missing.T
    gains = np.full(weight.shape, -np.inf)
    for row in range(len(weight)):
        index = np.flatnonzero(missing[row])
        after = np.abs(errors[:, row, None] - rows[:, index] * weight[row, index]).sum(0)
        gains[row, index] = np.abs(errors[:, row]).sum() - after
    return gains


def _allocate(works: list[Work], moments: list[Any], limit_j: float, total_j: float) -> list[float]:
    """Densities from one threshold on (relative output error) per joule."""
    scores, prices = [], []
    for work, moment in zip(works, moments, strict=True):
        flat = work.layer.weight.reshape(len(work.layer.weight), -1).astype(np.float64)
        power = np.square(flat) * moment
        scores.append(np.where(flat != 0, power / max(power.sum(), 1e-30), 0) / work.per_weight)
        prices.append(work.per_weight * MAC_ENERGY_J)
    fixed = total_j - sum(np.count_nonzero(s) * p for s, p in zip(scores, prices, strict=True))
    every = np.sort(np.concatenate([s[s > 0] for s in scores]))
    low, high = 0, len(every) - 1
    while low < high:
        middle = (low + high) // 2
        spent = fixed + sum(_count(s, every[middle]) * p
                            for s, p in zip(scores, prices, strict=True))  # fmt: skip
        if spent <= limit_j:
            high = middle
        else:
            low = middle + 1
    return [_count(s, every[low]) / s.size for s in scores]


def _count(scores: Any, bar: float) -> float:
    return float(max((scores >= bar).sum(), _KEPT_AT_LEAST * scores.size))


def _second_moments(model: Any, work: Work, feeds: Sequence[Any], seed: int) -> Any:
    rows, _ = _calibration(model, model, work.layer, feeds, seed)
    return np.square(rows).mean(0)


def _calibration(
    model: Any, original: Any, layer: Any, feeds: Sequence[Any], seed: int
) -> tuple[Any, Any]:
    """Rows that a layer reads in the pruned network, and what it answered in the original."""
    inputs = _observed(model, layer.source, feeds)
    answers = _observed(original, layer.result, feeds)
    rows, targets = unfold(inputs, layer), fold_out(answers, layer)
    if len(rows) > _ROWS:
        index = np.random.default_rng(seed).choice(len(rows), _ROWS, replace=False)
        rows, targets = rows[index], targets[index]
    return rows, targets


def _observed(model: Any, name: str, feeds: Sequence[Any]) -> Any:
    if any(value.name == name for value in model.graph.input):
        return np.concatenate([feed[name] for feed in feeds])
    running = Running(model, [name])
    return np.concatenate([running(feed)[name] for feed in feeds])
