"""Cheaper structures in place of convolutions (survey B01–B05, B09, B13).

None of them computes the same function: each starts from the weights that come nearest in
some sense, and must be trained before it is of use. They are priced before that training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer, conv_layer, conv_layers, put_conv
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.transform import Draft, Transform

_Replace = Callable[[Rewriting, ConvLayer], str | None]


def _each(draft: Draft, replace: _Replace) -> None:
    """Replaces every convolution that ``replace`` does not give a reason against."""
    for layer in conv_layers(draft.rewriting):
        reason = replace(draft.rewriting, layer)
        if reason is None:
            draft.changed.append(layer.node.name)
        else:
            draft.refused[layer.node.name] = reason


def _bias(layer: ConvLayer) -> Any | None:
    return layer.bias if layer.has_bias else None


def _middle(layer: ConvLayer, channels: int) -> tuple[int, ...]:
    return (layer.out_shape[0], channels, *layer.out_shape[2:])


def _depthwise_separable(rewriting: Rewriting, layer: ConvLayer) -> str | None:
    """Depthwise k×k, then 1×1: the best rank-1 split of each input channel's filters."""
    if layer.groups != 1 or layer.kernel == (1, 1):
        return "not a full convolution with a kernel above 1×1"
    if layer.out_channels == 1:
        return "one filter alone gains nothing"
    out, channels = layer.weight.shape[:2]
    flat = np.asarray(layer.weight, np.float64).transpose(1, 0, 2, 3).reshape(channels, out, -1)
    left, scale, right = np.linalg.svd(flat, full_matrices=False)
    depth = right[:, 0].reshape(channels, 1, *layer.kernel)
    point = (left[:, :, 0] * scale[:, :1]).T.reshape(out, channels, 1, 1)
    rewriting.remove(layer.node)
    middle = put_conv(rewriting, layer, layer.source, depth, None, _middle(layer, channels),
                      strides=layer.strides, pads=layer.pads, dilations=layer.dilations,
                      groups=channels, hint=f"{layer.node.name}.depthwise")  # fmt: skip
    put_conv(rewriting, layer, middle, point, _bias(layer), layer.out_shape, output=layer.result,
             hint=f"{layer.node.name}.pointwise")  # fmt: skip
    return None


def _grouped(rewriting: Rewriting, layer: ConvLayer, groups: int) -> str | None:
    """Only the blocks on the diagonal stay: group j of the inputs to group j of the outputs."""
    if layer.groups != 1:
        return "it is grouped already"
    if layer.in_channels % groups or layer.out_channels % groups:
        return f"its channels do not divide into {groups} groups"
    blocks = [
        np.split(part, groups, axis=1)[index]
        for index, part in enumerate(np.split(layer.weight, groups, axis=0))
    ]
    rewriting.remove(layer.node)
    put_conv(rewriting, layer, layer.source, np.concatenate(blocks), _bias(layer), layer.out_shape,
             output=layer.result, strides=layer.strides, pads=layer.pads,
             dilations=layer.dilations, groups=groups)  # fmt: skip
    return None


def _ghost(rewriting: Rewriting, layer: ConvLayer) -> str | None:
    """Half of the filters stay; the other half is a depthwise 3×3 of their results."""
    if layer.groups != 1:
        return "it is grouped already"
    half = layer.out_channels // 2
    if half < 1 or layer.out_channels % 2:
        return "its filters do not divide into two halves"
    kept, copied = layer.weight[:half], layer.weight[half:]
    # The centre tap that brings filter j nearest to filter j + half: a projection.
    norms = np.square(kept.reshape(half, -1)).sum(axis=1)
    tap = (kept * copied).reshape(half, -1).sum(axis=1) / np.maximum(norms, 1e-12)
    cheap = np.zeros((half, 1, 3, 3))
    cheap[:, 0, 1, 1] = tap
    rewriting.remove(layer.node)
    primary = put_conv(rewriting, layer, layer.source, kept,
                       layer.bias[:half] if layer.has_bias else None, _middle(layer, half),
                       strides=layer.strides, pads=layer.pads, dilations=layer.dilations,
                       hint=f"{layer.node.name}.primary")  # fmt: skip
    ghosts = put_conv(rewriting, layer, primary, cheap,
                      layer.bias[half:] if layer.has_bias else None, _middle(layer, half),
                      pads=(1, 1, 1, 1), groups=half, hint=f"{layer.node.name}.ghost")  # fmt: skip
    rewriting.add("Concat", [primary, ghosts], layer.out_shape, output=layer.result, axis=1)
    return None


def _small_kernels(rewriting: Rewriting, layer: ConvLayer) -> str | None:
    """5×5 as two 3×3, 7×7 as three: the first does the work, the others begin as identities."""
    size = layer.kernel[0]
    if layer.groups != 1 or layer.kernel not in ((5, 5), (7, 7)):
        return "not a full 5×5 or 7×7 convolution"
    if layer.dilations != (1, 1) or layer.pads != (size // 2,) * 4:
        return "it is dilated, or its padding does not keep the size"
    stack = size // 2
    channels, out = layer.in_channels, layer.out_channels
    macs = int(np.prod(layer.out_shape[2:])) * 9 * (channels * out + (stack - 1) * out * out)
    if macs >= layer.macs // layer.out_shape[0]:
        return f"{stack} convolutions of 3×3 would cost more: it has few input channels"
    margin = size // 2 - 1
    first = layer.weight[:, :, margin : margin + 3, margin : margin + 3]
    same = np.zeros((out, out, 3, 3))
    same[np.arange(out), np.arange(out), 1, 1] = 1
    rewriting.remove(layer.node)
    value = put_conv(rewriting, layer, layer.source, first, _bias(layer), layer.out_shape,
                     strides=layer.strides, pads=(1, 1, 1, 1))  # fmt: skip
    for index in range(1, stack):
        last = index == stack - 1
        value = put_conv(rewriting, layer, value, same, None, layer.out_shape, pads=(1, 1, 1, 1),
                         output=layer.result if last else None)  # fmt: skip
    return None


def _reduced(rewriting: Rewriting, layer: ConvLayer) -> str | None:
    """A 1×1 to a quarter of the channels first: the leading input directions of the filters."""
    if layer.groups != 1 or layer.kernel == (1, 1) or layer.in_channels < 16:
        return "not a full convolution with a kernel above 1×1 and 16 input channels or more"
    rank = layer.in_channels // 4
    height, width = layer.in_shape[2:]
    macs = layer.in_shape[0] * height * width * layer.in_channels * rank + layer.macs // 4
    if macs >= layer.macs:
        return "the 1×1 before it would cost more than it saves: the convolution has a stride"
    flat = np.asarray(layer.weight, np.float64).transpose(1, 0, 2, 3).reshape(layer.in_channels, -1)
    left = np.linalg.svd(flat, full_matrices=False)[0][:, :rank]
    core = np.einsum("oikl,ir->orkl", layer.weight, left)
    rewriting.remove(layer.node)
    shape = (layer.in_shape[0], rank, height, width)
    small = put_conv(rewriting, layer, layer.source, left.T[:, :, None, None], None, shape,
                     hint=f"{layer.node.name}.reduce")  # fmt: skip
    put_conv(rewriting, layer, small, core, _bias(layer), layer.out_shape, output=layer.result,
             strides=layer.strides, pads=layer.pads, dilations=layer.dilations)  # fmt: skip
    return None


def _concat_to_add(draft: Draft) -> None:
    """Concatenated maps are added instead, where only convolutions read them."""
    rewriting = draft.rewriting
    for node in rewriting.nodes:
        if node.op_type != "Concat" or len(node.input) < 2:
            continue
        reason = _add_up(rewriting, node)
        if reason is None:
            draft.changed.append(node.name)
        else:
            draft.refused[node.name] = reason


def _add_up(rewriting: Rewriting, node: Any) -> str | None:
    shapes = {rewriting.shape(name) for name in node.input}
    shape = next(iter(shapes))
    if len(shapes) != 1 or shape is None or len(shape) != 4:
        return "its maps differ in shape"
    result, readers = node.output[0], rewriting.consumers(node.output[0])
    layers = [conv_layer(rewriting, reader) for reader in readers]
    if not layers or any(x is None or x.groups != 1 or x.source != result for x in layers):
        return "something else than full convolutions reads it"
    if rewriting.shape(result) is None or (rewriting.shape(result) or ())[1] == shape[1]:
        return "it does not join channels"
    rewriting.remove(node)
    total = node.input[0]
    for name in node.input[1:]:
        total = rewriting.add("Add", [total, name], shape)
    for layer in layers:
        if layer is not None:
            # Each map had filters of its own; what their sum meets is the filters' mean.
            parts = np.split(layer.weight, len(node.input), axis=1)
            weight = np.mean([np.asarray(part, np.float64) for part in parts], axis=0)
            rewriting.remove(layer.node)
            put_conv(rewriting, layer, total, weight, _bias(layer), layer.out_shape,
                     output=layer.result, strides=layer.strides, pads=layer.pads,
                     dilations=layer.dilations)  # fmt: skip
    return None


def _substitute(id: str, technique: str, row: str, applies: str, replace: _Replace) -> Transform:
    return Transform(id, technique, row, "substituted", applies, partial(_each, replace=replace))


DEPTHWISE_SEPARABLE = _substitute(
    "depthwise_separable", "Depthwise-separable convolution", "B04",
    "full Conv above 1×1", _depthwise_separable,
)  # fmt: skip
GROUPS = tuple(
    _substitute(f"groups_{g}", f"Group convolution, {g} groups", "B05",
                "full Conv whose channels divide", partial(_grouped, groups=g))
    for g in (2, 4, 8)
)  # fmt: skip
GHOST = _substitute("ghost", "Ghost module", "B09", "full Conv with an even number of filters",
                    _ghost)  # fmt: skip
SMALL_KERNELS = _substitute(
    "small_kernels", "5×5 and 7×7 as stacks of 3×3", "B01", "full 5×5 and 7×7 Conv", _small_kernels,
)  # fmt: skip
POINTWISE_REDUCTION = _substitute(
    "pointwise_reduction", "1×1 channel reduction before a convolution", "B03",
    "full Conv above 1×1", _reduced,
)  # fmt: skip
CONCAT_TO_ADD = Transform(
    "concat_to_add", "Concatenation → addition", "B13", "substituted",
    "Concat of equal maps that only convolutions read", _concat_to_add,
)  # fmt: skip
