"""Batch normalisation folded into the linear layer before it (survey B14, Ioffe & Szegedy 2015).

y = γ (Wx + b − μ) / √(σ² + ε) + β is the layer with W′ = W γ/√(σ² + ε) and
b′ = β + (b − μ) γ/√(σ² + ε).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import conv_layer, dense_layer, put_conv, put_dense
from lwprof.compression.rewriting import Rewriting, attributes
from lwprof.compression.transform import Draft, Transform


@dataclass(frozen=True, slots=True)
class Affine:
    """What a batch normalisation does at inference: ``scale`` · x + ``shift``, both (channels,)."""

    scale: Any
    shift: Any


def affine(rewriting: Rewriting, node: Any) -> Affine | None:
    """A batch normalisation's numbers; None where they are not stored or it is training."""
    if node.op_type != "BatchNormalization" or len(node.input) != 5:
        return None
    found = attributes(node)
    numbers = [rewriting.constant(name) for name in node.input[1:]]
    if any(n is None for n in numbers) or found.get("training_mode", 0):
        return None
    gamma, beta, mean, variance = (np.asarray(n, np.float64) for n in numbers)
    scale = gamma / np.sqrt(variance + float(found.get("epsilon", 1e-5)))
    return Affine(scale, beta - mean * scale)


def fold(draft: Draft) -> None:
    """Folds every batch normalisation that can be folded."""
    rewriting = draft.rewriting
    for node in rewriting.nodes:
        if node.op_type != "BatchNormalization":
            continue
        reason = _fold_one(rewriting, node)
        if reason is None:
            draft.changed.append(node.name)
        else:
            draft.refused[node.name] = reason


def _fold_one(rewriting: Rewriting, node: Any) -> str | None:
    """Folds one; returns why it could not."""
    numbers = affine(rewriting, node)
    if numbers is None:
        return "its numbers are not stored, or it is in training mode"
    source = node.input[0]
    before = rewriting.producer(source)
    if before is None or not rewriting.is_private(source):
        return "what it normalises is read elsewhere too"
    scale, shift = numbers.scale, numbers.shift
    conv = conv_layer(rewriting, before)
    if conv is not None:
        weight, bias = conv.weight * scale[:, None, None, None], shift + conv.bias * scale
        rewriting.remove(before, node)
        put_conv(rewriting, conv, conv.source, weight, bias, conv.out_shape, strides=conv.strides,
                 output=node.output[0], pads=conv.pads, dilations=conv.dilations,
                 groups=conv.groups)  # fmt: skip
        return None
    dense = dense_layer(rewriting, _multiplying(rewriting, before))
    if dense is None or dense.result != source or len(dense.out_shape) != 2:
        return "no convolution or fully connected layer with stored weights before it"
    weight, bias = dense.weight * scale[:, None], shift + dense.bias * scale
    rewriting.remove(*dense.nodes, node)
    put_dense(rewriting, dense, dense.source, weight, bias, output=node.output[0])
    return None


def _multiplying(rewriting: Rewriting, node: Any) -> Any:
    """The MatMul before a bias, else the node itself."""
    if node.op_type == "Add":
        makers = (rewriting.producer(name) for name in node.input)
        return next((m for m in makers if m is not None and m.op_type == "MatMul"), node)
    return node


FOLD_BATCH_NORM = Transform(
    "fold_batch_norm", "Batch normalisation folded into the layer before it", "B14", "equal",
    "BatchNormalization behind Conv, Gemm or MatMul", fold,
)  # fmt: skip
