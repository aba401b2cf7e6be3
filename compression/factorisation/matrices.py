"""Factorisations with a closed form: truncated singular value decompositions (Eckart–Young).

A matrix's best rank-r approximation keeps its r largest singular values; its squared error
is the sum of the squares of the rest. Every method here is that, of a weight laid out as one
matrix or several:

| method | matrix | chain |
|---|---|---|
| svd | (out, in) of dense layers and 1×1 convolutions | r, then out |
| low_rank_filters | (out, in·kh·kw) | r filters of kh×kw, then 1×1 |
| spatial | (in·kh, out·kw) | kh×1 to r maps, then 1×kw |
| filter_group | (out, in/g·kh·kw) of each of g groups of inputs | g groups of r filters, then 1×1 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lwprof.compression.factorisation.choosing import Method, grid, transform
from lwprof.compression.factorisation.stages import Factors, Layer, Stage, error_of, macs_of
from lwprof.compression.layers import ConvLayer, DenseLayer
from lwprof.compression.transform import Given

FILTER_GROUPS = 4


def truncated(matrix: Any, rank: int) -> tuple[Any, Any]:
    """Left (m, r) and right (r, n) factors of the best rank-r approximation.

    The singular values are shared by both sides as square roots, so that neither is large.
    """
    left, scale, right = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    root = np.sqrt(scale[:rank])
    return left[:, :rank] * root, root[:, None] * right[:rank]


def tail_errors(matrices: Sequence[Any], ranks: Sequence[int]) -> list[float]:
    """Relative errors when each matrix keeps ``rank`` singular values (Eckart–Young)."""
    tails, power = np.zeros(len(ranks)), 0.0
    for matrix in matrices:
        m = np.asarray(matrix, np.float64)
        gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
        squares = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)
        left = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
        tails += [left[min(rank, len(squares))] for rank in ranks]
        power += float(squares.sum())
    return [float(x) for x in np.sqrt(tails / power)] if power else [0.0] * len(ranks)


def _as_matrix(layer: Layer) -> Any:
    return layer.weight.reshape(len(layer.weight), -1)


def _smaller(layer: Layer) -> list[int]:
    return grid(min(_as_matrix(layer).shape))


def _convolution(layer: Layer) -> str | None:
    if not isinstance(layer, ConvLayer):
        return "not a convolution"
    if layer.groups != 1 or layer.kernel == (1, 1):
        return "not a full convolution with a kernel above 1×1"
    return None


# --- svd


def _svd_unfit(layer: Layer) -> str | None:
    if isinstance(layer, DenseLayer):
        return None
    return None if layer.groups == 1 and layer.kernel == (1, 1) else "not dense and not full 1×1"


def _svd_macs(layer: Layer, rank: int) -> int:
    out, inputs = _as_matrix(layer).shape
    return macs_of(layer, [((rank, inputs), (True, True)), ((out, rank), (False, False))])


def _svd(layer: Layer, rank: int, given: Given) -> Factors:
    left, right = truncated(_as_matrix(layer), rank)
    if isinstance(layer, ConvLayer):
        left, right = left[:, :, None, None], right[:, :, None, None]
    stages = (Stage(right, (True, True)), Stage(left))
    return Factors(stages, error_of(layer.weight, stages))


# --- low-rank filters


def _filters_macs(layer: Layer, rank: int) -> int:
    shape = layer.weight.shape
    return macs_of(layer, [((rank, *shape[1:]), (True, True)), ((shape[0], rank), (False, False))])


def filter_chain(layer: ConvLayer, left: Any, right: Any) -> tuple[Stage, ...]:
    """r filters of the layer's kernel, then 1×1, from factors (out, r) and (r, in·kh·kw)."""
    first = right.reshape(-1, *layer.weight.shape[1:])
    return Stage(first, (True, True)), Stage(left[:, :, None, None])


def _filters(layer: Layer, rank: int, given: Given) -> Factors:
    assert isinstance(layer, ConvLayer)
    stages = filter_chain(layer, *truncated(_as_matrix(layer), rank))
    return Factors(stages, error_of(layer.weight, stages))


# --- spatial


def _spatial_matrix(layer: Layer) -> Any:
    out, inputs, height, width = layer.weight.shape
    return layer.weight.transpose(1, 2, 0, 3).reshape(inputs * height, out * width)


def _spatial_unfit(layer: Layer) -> str | None:
    reason = _convolution(layer)
    if reason is None and 1 in layer.weight.shape[2:]:
        return "its kernel is one-dimensional already"
    return reason


def _spatial_macs(layer: Layer, rank: int) -> int:
    out, inputs, height, width = layer.weight.shape
    return macs_of(layer, [((rank, inputs, height, 1), (True, False)),
                           ((out, rank, 1, width), (False, True))])  # fmt: skip


def _spatial(layer: Layer, rank: int, given: Given) -> Factors:
    out, inputs, height, width = layer.weight.shape
    left, right = truncated(_spatial_matrix(layer), rank)
    vertical = left.reshape(inputs, height, rank).transpose(2, 0, 1)[..., None]
    horizontal = right.reshape(rank, out, width).transpose(1, 0, 2)[:, :, None, :]
    stages = (Stage(vertical, (True, False)), Stage(horizontal, (False, True)))
    return Factors(stages, error_of(layer.weight, stages))


# --- filter groups


def _group_unfit(layer: Layer) -> str | None:
    reason = _convolution(layer)
    if reason is None and layer.weight.shape[1] % FILTER_GROUPS:
        return f"its input channels do not divide into {FILTER_GROUPS} groups"
    return reason


def _group_matrices(layer: Layer) -> list[Any]:
    return [part.reshape(len(part), -1) for part in np.split(layer.weight, FILTER_GROUPS, axis=1)]


def _group_macs(layer: Layer, rank: int) -> int:
    out, inputs, height, width = layer.weight.shape
    inside = (FILTER_GROUPS * rank, inputs // FILTER_GROUPS, height, width)
    return macs_of(layer, [(inside, (True, True)),
                           ((out, FILTER_GROUPS * rank), (False, False))])  # fmt: skip


def _group(layer: Layer, rank: int, given: Given) -> Factors:
    each = layer.weight.shape[1] // FILTER_GROUPS
    pairs = [truncated(matrix, rank) for matrix in _group_matrices(layer)]
    first = np.concatenate([r.reshape(-1, each, *layer.weight.shape[2:]) for _, r in pairs])
    second = np.concatenate([left for left, _ in pairs], axis=1)[:, :, None, None]
    stages = (Stage(first, (True, True), FILTER_GROUPS), Stage(second))
    return Factors(stages, error_of(layer.weight, stages))


def _group_sizes(layer: Layer) -> list[int]:
    return grid(min(_group_matrices(layer)[0].shape))


SVD_METHOD = Method(_svd_unfit, _smaller, _svd_macs, _svd,
                    lambda layer, ranks: tail_errors([_as_matrix(layer)], ranks))  # fmt: skip
FILTERS_METHOD = Method(_convolution, _smaller, _filters_macs, _filters,
                        lambda layer, ranks: tail_errors([_as_matrix(layer)], ranks))  # fmt: skip
SPATIAL_METHOD = Method(_spatial_unfit, lambda layer: grid(min(_spatial_matrix(layer).shape)),
                        _spatial_macs, _spatial,
                        lambda layer, ranks: tail_errors([_spatial_matrix(layer)], ranks))  # fmt: skip
GROUP_METHOD = Method(_group_unfit, _group_sizes, _group_macs, _group,
                      lambda layer, ranks: tail_errors(_group_matrices(layer), ranks))  # fmt: skip

SVD = transform("svd", "Two-factor form by SVD, M×N → M×d + d×N", "C16, C20",
                "Gemm, MatMul and full 1×1 Conv", SVD_METHOD)  # fmt: skip
LOW_RANK_FILTERS = transform("low_rank_filters", "Low-rank filters by SVD: k×k, then 1×1", "C19",
                             "full Conv above 1×1", FILTERS_METHOD)  # fmt: skip
SPATIAL = transform("spatial", "Separable kernels, k×k → k×1 + 1×k", "B02, C20",
                    "full Conv above 1×1", SPATIAL_METHOD)  # fmt: skip
FILTER_GROUP = transform("filter_group", "Filter-group approximation", "C21",
                         "full Conv above 1×1", GROUP_METHOD)  # fmt: skip
