"""Closed-form repair: the weights that survive are fitted to what the layer answered before.

min ‖Y − X W‖² + λ ‖W − W₀‖² over the survivors, X the inputs of the pruned network, Y the
original's outputs before the activation, both on calibration data (Yang et al. 2017, step 4;
also AMC and ThiNet).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from lwprof.compression.layers import ConvLayer, DenseLayer, conv_layers, dense_layers
from lwprof.compression.pruning.scene import Scene
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.running import Running
from lwprof.profiler.graph import read

# Rows of X that are used at most per layer, and λ relative to the mean diagonal of XᵀX.
_ROWS = 4096
_DAMPING = 1e-3

Layer = ConvLayer | DenseLayer


def unfold(values: Any, layer: Layer) -> Any:
    """What each output of a layer is a sum of: (samples × positions, inputs × kernel), float64.

    Column order is that of ``layer.weight`` flattened behind its first axis. Convolutions with
    groups are not unfolded here.
    """
    if isinstance(layer, DenseLayer):
        return values.reshape(-1, values.shape[-1]).astype(np.float64)
    top, left, bottom, right = layer.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (kh, kw), (dh, dw), (sh, sw) = layer.kernel, layer.dilations, layer.strides
    windows = np.lib.stride_tricks.sliding_window_view(
        padded,
        ((kh - 1) * dh + 1, (kw - 1) * dw + 1),
        axis=(2, 3),
    )[:, :, ::sh, ::sw, ::dh, ::dw]
    rows = windows.transpose(0, 2, 3, 1, 4, 5)
    return rows.reshape(-1, rows.shape[3] * kh * kw).astype(np.float64)


def fold_out(values: Any, layer: Layer) -> Any:
    """A layer's outputs as rows that go with those of ``unfold``: (rows, out)."""
    if isinstance(layer, DenseLayer):
        return values.reshape(-1, values.shape[-1]).astype(np.float64)
    return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1]).astype(np.float64)


def fit(rows: Any, targets: Any, weight: Any, alive: Any | None = None) -> Any:
    """Least squares on the weights that are alive, pulled slightly towards the old ones.

    Args:
        rows: (n, inputs).
        targets: (n, out), bias taken off.
        weight: (out, inputs), the old weights.
        alive: (out, inputs) of bool; None means all.
    """
    gram, right = rows.T @ rows, rows.T @ targets
    damping = _DAMPING * float(np.trace(gram)) / max(len(gram), 1) + 1e-12
    made = np.zeros_like(weight, dtype=np.float64)
    if alive is None:
        eye = np.eye(len(gram))
        return np.linalg.solve(gram + damping * eye, right + damping * weight.T).T
    for row, (old, live) in enumerate(zip(weight, alive, strict=True)):
        index = np.flatnonzero(live)
        if len(index):
            inner = gram[np.ix_(index, index)] + damping * np.eye(len(index))
            made[row, index] = np.linalg.solve(inner, right[index, row] + damping * old[index])
    return made


def repair(scene: Scene, pruned: Any, kept: Any, seed: int = 0) -> Any:
    """Fits the layers of a pruned network, one after the other, to the original's answers.

    Args:
        scene: the original with calibration data.
        pruned: what ``remove_channels(scene.found, kept)`` returned; left unchanged.

    Returns:
        an ``onnx.ModelProto`` of the same shapes. Layers that lost no input, and convolutions
        with groups, keep their weights.
    """
    mask = np.asarray(kept, dtype=bool)
    names = {layer.node: layer for layer in scene.layers()}
    originals = {layer.node.name: layer for layer in _layers(scene.found.graph.proto)}
    model = type(pruned)()
    model.CopyFrom(pruned)
    for layer in _layers(model):
        plain = names.get(layer.node.name)
        if plain is None or plain.groups > 1 or layer.node.name not in originals:
            continue
        lost = scene.found.slots[plain.weight, plain.read]
        if scene.found.survivors(lost, mask).all():
            continue
        made = scene.found.survivors(scene.found.slots[plain.weight, plain.made], mask)
        original = originals[layer.node.name]
        targets = _targets(scene, original)[:, made]
        inputs = _observed(model, scene, layer.source)
        rows = unfold(inputs, layer)
        picked = _sample(len(rows), seed)
        flat = layer.weight.reshape(len(layer.weight), -1).astype(np.float64)
        offset = layer.bias.astype(np.float64)
        fitted = fit(rows[picked], targets[picked] - offset, flat)
        put_weight(model, layer, fitted.reshape(layer.weight.shape))
    return model


def put_weight(model: Any, layer: Layer, weight: Any) -> None:
    """Stores weights (out, in …) of a layer in the model that it was found in."""
    name = layer.node.input[1]
    transposed = isinstance(layer, DenseLayer) and not (
        layer.node.op_type == "Gemm"
        and any(a.name == "transB" and a.i for a in layer.node.attribute)
    )
    array = np.ascontiguousarray(weight.T if transposed else weight).astype(layer.weight.dtype)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            next(a.t for a in node.attribute if a.name == "value").CopyFrom(
                numpy_helper.from_array(array, name)
            )


def _layers(model: Any) -> list[Layer]:
    rewriting = Rewriting(read(model))
    order = {node.name: i for i, node in enumerate(rewriting.nodes)}
    found: list[Layer] = [*conv_layers(rewriting), *dense_layers(rewriting)]
    return sorted(found, key=lambda layer: order[layer.node.name])


def _targets(scene: Scene, layer: Layer) -> Any:
    # A dense layer made of MatMul and Add answers at the Add.
    return fold_out(_observed(scene.found.graph.proto, scene, layer.result), layer)


def _observed(model: Any, scene: Scene, name: str) -> Any:
    if any(value.name == name for value in model.graph.input):
        return np.concatenate([feed[name] for feed in scene.feeds])
    running = Running(model, [name])
    return np.concatenate([running(feed)[name] for feed in scene.feeds])


def _sample(count: int, seed: int) -> Any:
    if count <= _ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _ROWS, replace=False))
