"""A factorised layer as a chain of small convolutions, and what that chain multiplies out to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer, DenseLayer, put_conv, put_dense
from lwprof.compression.rewriting import Rewriting

Layer = ConvLayer | DenseLayer


@dataclass(frozen=True, slots=True)
class Stage:
    """One link of the chain.

    Attributes:
        weight: (out, in / groups, kh, kw); (out, in) in a chain of dense layers.
        axes: of the layer's stride, padding and dilation, which this stage takes over:
            height, width.
    """

    weight: Any
    axes: tuple[bool, bool] = (False, False)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Factors:
    """A layer's weight as a product.

    Attributes:
        stages: first to last.
        error: ‖W − product‖ / ‖W‖ (Frobenius), or the response error where ``of`` says so.
        bias: replaces the layer's own, where given.
        of: "weights" or "responses": what ``error`` is of.
    """

    stages: tuple[Stage, ...]
    error: float
    bias: Any | None = None
    of: str = "weights"


def product(stages: Sequence[Stage]) -> Any:
    """The full kernel (out, in, kh, kw) that a chain of stages multiplies out to, float64.

    Kernels of the stages lie along different axes or are 1×1, except at most one.
    """
    total: Any = None
    for stage in stages:
        weight = np.asarray(stage.weight, np.float64)
        weight = weight if weight.ndim == 4 else weight[:, :, None, None]
        weight = _full(weight, stage.groups)
        total = weight if total is None else _compose(weight, total)
    return total


def _full(weight: Any, groups: int) -> Any:
    if groups == 1:
        return weight
    out, each = weight.shape[0] // groups, weight.shape[1]
    full = np.zeros((weight.shape[0], each * groups, *weight.shape[2:]))
    for g in range(groups):
        full[g * out : (g + 1) * out, g * each : (g + 1) * each] = weight[g * out : (g + 1) * out]
    return full


def _compose(second: Any, first: Any) -> Any:
    """The kernel of ``second`` after ``first``, whose extents add up."""
    kh, kw = (second.shape[a] + first.shape[a] - 1 for a in (2, 3))
    total = np.zeros((second.shape[0], first.shape[1], kh, kw))
    for i in range(second.shape[2]):
        for j in range(second.shape[3]):
            part = np.einsum("om,mikl->oikl", second[:, :, i, j], first, optimize=True)
            total[:, :, i : i + first.shape[2], j : j + first.shape[3]] += part
    return total


def error_of(weight: Any, stages: Sequence[Stage]) -> float:
    """Relative Frobenius error of a chain against the weight it stands for."""
    reference = np.asarray(weight, np.float64)
    found = product(stages).reshape(reference.shape)
    norm = float(np.linalg.norm(reference))
    return float(np.linalg.norm(reference - found)) / norm if norm else 0.0


def macs_of(layer: Layer, stages: Sequence[tuple[tuple[int, ...], tuple[bool, bool]]]) -> int:
    """Multiply-accumulates of a chain.

    Args:
        stages: of each, the weight's shape and the axes whose stride it takes over.
    """
    if isinstance(layer, DenseLayer):
        return layer.rows * sum(int(np.prod(shape)) for shape, _ in stages)
    size = list(layer.in_shape[2:])
    total = 0
    for shape, axes in stages:
        for axis in range(2):
            if axes[axis]:
                size[axis] = layer.out_shape[2 + axis]
        total += layer.in_shape[0] * int(np.prod(size)) * int(np.prod(shape))
    return total


def write(rewriting: Rewriting, layer: Layer, factors: Factors) -> None:
    """Puts a chain in place of its layer."""
    bias = factors.bias if factors.bias is not None else (layer.bias if layer.has_bias else None)
    if isinstance(layer, DenseLayer):
        rewriting.remove(*layer.nodes)
        value = layer.source
        for place, stage in enumerate(factors.stages):
            last = place == len(factors.stages) - 1
            value = put_dense(rewriting, layer, value, stage.weight, bias if last else None,
                              output=layer.result if last else None)  # fmt: skip
        return
    rewriting.remove(layer.node)
    value, size = layer.source, list(layer.in_shape[2:])
    for place, stage in enumerate(factors.stages):
        last = place == len(factors.stages) - 1
        for axis in range(2):
            if stage.axes[axis]:
                size[axis] = layer.out_shape[2 + axis]
        h, w = stage.axes
        value = put_conv(
            rewriting, layer, value, stage.weight, bias if last else None,
            (layer.out_shape[0], len(stage.weight), *size), output=layer.result if last else None,
            strides=(layer.strides[0] if h else 1, layer.strides[1] if w else 1),
            pads=(layer.pads[0] * h, layer.pads[1] * w, layer.pads[2] * h, layer.pads[3] * w),
            dilations=(layer.dilations[0] if h else 1, layer.dilations[1] if w else 1),
            groups=stage.groups,
        )  # fmt: skip
