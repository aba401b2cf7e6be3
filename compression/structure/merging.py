"""Neighbouring linear layers as one: C = BA (survey B10).

Two fully connected layers without an activation between them are one; so are a convolution
and a 1×1 convolution behind it. Where the middle is narrow the product has more weights
than its factors: such a merge would lose, and is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.layers import (
    ConvLayer,
    DenseLayer,
    conv_layer,
    dense_layer,
    put_conv,
    put_dense,
)
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.structure import batch_norm
from lwprof.compression.transform import Draft, Given, Transform


def merge(draft: Draft) -> None:
    """Folds batch normalisations, which part linear layers, then merges what gains by it."""
    # The folding is a means: alone it is no merge, so it counts only where a merge follows.
    folding = Draft(draft.rewriting, Given())
    batch_norm.fold(folding)
    again = True
    while again:
        again = False
        for node in draft.rewriting.nodes:
            done = _merge_conv(draft, node) or _merge_dense(draft, node)
            again = again or done
    if draft.changed:
        draft.changed += folding.changed


def _merge_conv(draft: Draft, node: Any) -> bool:
    rewriting = draft.rewriting
    second = conv_layer(rewriting, node)
    if second is None or second.kernel != (1, 1) or second.groups != 1:
        return False
    before = rewriting.producer(second.source)
    first = conv_layer(rewriting, before) if before is not None else None
    if first is None or not rewriting.is_private(second.source):
        return False
    if second.strides != (1, 1) or any(second.pads):
        return _refuse(draft, node, "the second convolution has a stride or padding")
    macs = int(np.prod(second.out_shape)) * first.in_channels * int(np.prod(first.kernel))
    if macs >= first.macs + second.macs:
        return _refuse(draft, node, "the merged layer would cost more than its two factors")
    inner = np.asarray(_ungrouped(first), np.float64)
    outer = np.asarray(second.weight[:, :, 0, 0], np.float64)
    weight = np.einsum("om,mikl->oikl", outer, inner)
    bias = outer @ np.asarray(first.bias, np.float64) + second.bias
    rewriting.remove(first.node, second.node)
    put_conv(rewriting, first, first.source, weight, bias, second.out_shape, output=second.result,
             strides=first.strides, pads=first.pads, dilations=first.dilations)  # fmt: skip
    draft.changed += [first.node.name, second.node.name]
    return True


def _merge_dense(draft: Draft, node: Any) -> bool:
    rewriting = draft.rewriting
    second = dense_layer(rewriting, node)
    if second is None or not rewriting.is_private(second.source):
        return False
    first = _dense_making(rewriting, second.source)
    if first is None:
        return False
    if first.weight.shape[1] * len(second.weight) >= first.weight.size + second.weight.size:
        return _refuse(draft, node, "the merged layer would cost more than its two factors")
    outer = np.asarray(second.weight, np.float64)
    weight = outer @ np.asarray(first.weight, np.float64)
    bias = outer @ np.asarray(first.bias, np.float64) + second.bias
    rewriting.remove(*first.nodes, *second.nodes)
    put_dense(rewriting, second, first.source, weight, bias, output=second.result)
    draft.changed += [n.name for n in (*first.nodes, *second.nodes)]
    return True


def _dense_making(rewriting: Rewriting, name: str) -> DenseLayer | None:
    """The fully connected layer whose result is ``name``."""
    maker = rewriting.producer(name)
    if maker is None:
        return None
    makers = [maker]
    if maker.op_type == "Add":
        makers = [m for n in maker.input if (m := rewriting.producer(n)) is not None]
    layers = (dense_layer(rewriting, m) for m in makers)
    return next((layer for layer in layers if layer is not None and layer.result == name), None)


def _ungrouped(conv: ConvLayer) -> Any:
    """The weight of a grouped convolution as that of a full one, zeros between the groups."""
    if conv.groups == 1:
        return conv.weight
    out, each = conv.out_channels // conv.groups, conv.weight.shape[1]
    full = np.zeros((conv.out_channels, conv.in_channels, *conv.kernel), conv.weight.dtype)
    for group in range(conv.groups):
        rows = slice(group * out, (group + 1) * out)
        full[rows, group * each : (group + 1) * each] = conv.weight[rows]
    return full


def _refuse(draft: Draft, node: Any, reason: str) -> bool:
    draft.refused[node.name] = reason
    return False


MERGE_LINEAR = Transform(
    "merge_linear", "Merging of neighbouring linear layers, C = BA", "B10", "equal",
    "Gemm, MatMul and Conv directly before Gemm, MatMul or a 1×1 Conv", merge,
)  # fmt: skip
