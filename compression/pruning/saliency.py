"""How much each channel matters: one number per unit, larger is better kept.

Every saliency is a function of a ``Scene``; ``SALIENCIES`` names them. Those that need
derivatives take them by differences of the gated network, so that no training framework is
needed; the cost is two inferences per unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import numpy_helper

from lwprof.compression.graph.dependencies import NONE
from lwprof.compression.pruning.scene import Scene, Weighted, by_unit
from lwprof.errors import UsageError

Saliency = Callable[[Scene], Any]
# Step of the gates: large enough for float32 outputs, small beside 1.
_STEP = 0.05
_BINS = 100


def random(scene: Scene) -> Any:
    """Uniform random numbers: the baseline that every other must beat."""
    return np.random.default_rng(scene.seed).random(scene.found.units)


def l1(scene: Scene) -> Any:
    """Σ |w| of the filters that make a unit."""
    return _norms(scene, lambda w: np.abs(w).sum(1), made=True)


def l2(scene: Scene) -> Any:
    """√Σ w² of the filters that make a unit."""
    return np.sqrt(_norms(scene, lambda w: np.square(w).sum(1), made=True))


def structured_sparsity(scene: Scene) -> Any:
    """Group norms of Wen et al. (2016): of the filters of a unit and of the channels that read it.

    Their training drives these norms to nought (``lwprof.compression.distillation.losses`` has
    the regulariser); on a given network they order the units.
    """
    made = _norms(scene, lambda w: np.square(w).sum(1), made=True)
    read = _norms(scene, lambda w: np.square(w).sum(1), made=False)
    return np.sqrt(made) + np.sqrt(read)


def taylor(scene: Scene) -> Any:
    """Mean over samples of |∂L/∂gate|, the first-order change when a unit goes (Molchanov 2017).

    Needs labels: without, the loss is at its minimum and all derivatives vanish.

    Raises:
        UsageError: the scene has no labels.
    """
    if scene.labels is None:
        raise UsageError("the Taylor saliency needs labelled calibration data: give labels, or "
                         "choose obd")  # fmt: skip
    return _differences(scene, lambda low, middle, high: np.abs(high - low).mean() / (2 * _STEP))


def obd(scene: Scene) -> Any:
    """½ ∂²L/∂gate², the diagonal Hessian of Optimal Brain Damage (LeCun et al. 1990).

    A gate of 1 scales a unit, so u = 1 in ½ h u². Negative curvature counts as nought.
    """

    def curvature(low: Any, middle: Any, high: Any) -> float:
        return max(0.0, float((high - 2 * middle + low).mean() / _STEP**2 / 2))

    return _differences(scene, curvature)


def entropy(scene: Scene) -> Any:
    """Entropy of a channel's pooled activations over the data (Luo and Wu 2017), in nats.

    A channel that says much the same of every input tells little. 100 bins, as in the paper.
    """
    total = np.zeros(scene.found.units)
    times = np.zeros(scene.found.units)
    for units, pooled in _pooled(scene):
        bits = np.array([_entropy(column) for column in pooled.T])
        total += by_unit(units, bits, scene.found.units)
        times += by_unit(units, np.ones(len(bits)), scene.found.units)
    return total / np.maximum(times, 1)


def discrimination(scene: Scene) -> Any:
    """Discrimination-aware saliency (Zhuang et al. 2018), for layers that read a unit.

    The norm of the gradient of the reconstruction error and of an auxiliary classifier's
    cross-entropy, taken where none of the layer's inputs is selected yet: the channel with the
    largest would reduce both losses most. The classifier is a ridge regression of the labels on
    the layer's pooled outputs.
    """
    total = np.zeros(scene.found.units)
    layers = [layer for layer in scene.layers() if layer.groups == 1
              and (scene.found.slots[layer.weight, layer.read] != NONE).any()]  # fmt: skip
    names = list(dict.fromkeys(name for layer in layers for name in (layer.source, layer.result)))
    values = scene.observe(names) if names else {}
    classes = _classes(scene, scene.found.graph.outputs[0].name)
    for layer in layers:
        read = _flat(values[layer.source], layer)
        made = _flat(values[layer.result], layer)
        norms = _gradient_norms(read, made, classes)
        units = scene.found.slots[layer.weight, layer.read]
        total += by_unit(units, norms / max(norms.sum(), 1e-30), scene.found.units)
    return total


SALIENCIES: dict[str, Saliency] = {
    "l1": l1, "l2": l2, "taylor": taylor, "random": random, "obd": obd, "entropy": entropy,
    "discrimination": discrimination, "structured-sparsity": structured_sparsity,
}  # fmt: skip


def saliency(name: str) -> Saliency:
    """The saliency of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in SALIENCIES:
        raise UsageError(f"no saliency is called {name!r}: choose {', '.join(SALIENCIES)}")
    return SALIENCIES[name]


def _norms(scene: Scene, norm: Callable[[Any], Any], *, made: bool) -> Any:
    stored = {tensor.name: tensor for tensor in scene.found.graph.proto.graph.initializer}
    total = np.zeros(scene.found.units)
    for layer in scene.layers():
        axis = layer.made if made else layer.read
        units = scene.found.slots.get((layer.weight, axis))
        if units is None or layer.weight not in stored:
            continue
        array = np.moveaxis(numpy_helper.to_array(stored[layer.weight]).astype(np.float64), axis, 0)
        total += by_unit(units, norm(array.reshape(len(array), -1)), scene.found.units)
    return total


def _differences(scene: Scene, combine: Callable[[Any, Any, Any], float]) -> Any:
    gates = np.ones(scene.found.units, np.float32)
    middle = scene.losses(gates)
    found = np.empty(scene.found.units)
    for unit in range(scene.found.units):
        sides = []
        for step in (-_STEP, _STEP):
            gates[unit] = 1 + step
            sides.append(scene.losses(gates))
        gates[unit] = 1
        found[unit] = combine(sides[0], middle, sides[1])
    return found


def _pooled(scene: Scene) -> list[tuple[Any, Any]]:
    """(units per channel, (samples, channels)) of every value that a layer reads."""
    names = list(dict.fromkeys(
        layer.source for layer in scene.layers()
        if (scene.found.values.get(layer.source, np.array(NONE)) != NONE).any()
    ))  # fmt: skip
    values = scene.observe(names) if names else {}
    found = []
    for name in names:
        units, value = scene.found.values[name], values[name]
        axis = max(range(units.ndim), key=lambda a, u=units: u.shape[a])  # type: ignore[misc]
        moved = np.moveaxis(value, axis, -1)
        rows = moved.reshape(len(moved), -1, moved.shape[-1]).mean(1) if axis else moved
        found.append((units.reshape(-1), rows))
    return found


def _entropy(values: Any) -> float:
    counts, _ = np.histogram(values, bins=_BINS)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())


def _flat(value: Any, layer: Weighted) -> Any:
    """(samples, positions, channels)."""
    moved = np.moveaxis(value, 1, -1) if layer.kind.startswith("Conv") else value
    return moved.reshape(len(moved), -1, moved.shape[-1]).astype(np.float64)


def _classes(scene: Scene, output: str) -> Any:
    if scene.labels is not None:
        return np.concatenate([np.asarray(part).reshape(-1) for part in scene.labels])
    answers = scene.observe([output])[output]
    return answers.reshape(len(answers), -1).argmax(1)


def _gradient_norms(read: Any, made: Any, classes: Any) -> Any:
    """(channels read,): norm of ∂(reconstruction + cross-entropy)/∂W per input channel at W = 0.

    A k × k kernel is taken by the channel's mean over each position's neighbourhood, that is by
    its response at the position itself, where the two maps differ in size by their means.
    """
    if read.shape[1] != made.shape[1]:
        read, made = read.mean(1, keepdims=True), made.mean(1, keepdims=True)
    targets = (classes[:, None] == np.unique(classes)).astype(np.float64)
    pooled = made.mean(1)
    gram = pooled.T @ pooled + 1e-3 * np.trace(pooled.T @ pooled) / pooled.shape[1] * np.eye(
        pooled.shape[1]
    )
    head = np.linalg.solve(gram, pooled.T @ (targets - targets.mean(0)))
    # At W = 0 the classifier answers with the classes' shares.
    pull = (targets.mean(0) - targets) @ head.T
    scale = max(float(np.square(made).mean()), 1e-30)
    gradient = -made / scale + pull[:, None, :] / max(float(np.abs(pull).mean()), 1e-30)
    product = np.einsum("npc,npo->co", read, gradient) / (len(read) * read.shape[1])
    return np.linalg.norm(product, axis=1)
