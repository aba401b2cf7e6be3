"""Factorisations of the weight as a tensor: CP, Tucker-2 and block terms, by alternating fits.

The weight is W (out, in, kh, kw). None has a closed form; each starts from singular vectors
and alternates least squares, in which the error never rises.

- CP (Lebedev et al., arXiv 1412.6553): W = Σ_r a_r ⊗ b_r ⊗ c_r ⊗ d_r; the chain is 1×1 to r
  maps, depthwise kh×1, depthwise 1×kw, 1×1.
- Tucker-2 (Kim et al., arXiv 1511.06530): W = G ×₁ A ×₂ B; the chain is 1×1, a core, 1×1.
- Block terms (Wang & Cheng, 2016): a sum of such; the core is a grouped convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.factorisation.choosing import Method, grid, transform
from lwprof.compression.factorisation.stages import Factors, Layer, Stage, error_of, macs_of
from lwprof.compression.layers import ConvLayer
from lwprof.compression.transform import Given

SWEEPS = 8
BLOCKS = 4
# Sizes of Tucker-2 and block terms are sixteenths of the layer's channels.
_PARTS = 16


def cp(weight: Any, rank: int, sweeps: int = SWEEPS, seed: int = 0) -> list[Any]:
    """Factors of a rank-``rank`` CP decomposition, one (extent, rank) per axis.

    Alternating least squares from leading singular vectors, filled up with seeded noise.
    """
    tensor = np.asarray(weight, np.float64)
    random = np.random.default_rng(seed)
    factors = [_start(_unfold(tensor, axis), rank, random) for axis in range(tensor.ndim)]
    unfolded = [_unfold(tensor, axis) for axis in range(tensor.ndim)]
    for _ in range(sweeps):
        for axis in range(tensor.ndim):
            rest = [f for place, f in enumerate(factors) if place != axis]
            gram = np.prod([f.T @ f for f in rest], axis=0)
            # A pinch of ridge keeps collinear components from running away.
            gram = gram + 1e-10 * np.trace(gram) / rank * np.eye(rank)
            factors[axis] = np.linalg.solve(gram, (unfolded[axis] @ _khatri_rao(rest)).T).T
            if axis < tensor.ndim - 1:
                norms = np.linalg.norm(factors[axis], axis=0)
                factors[axis] = factors[axis] / np.where(norms > 0, norms, 1)
    return factors


def tucker2(weight: Any, ranks: tuple[int, int], sweeps: int = SWEEPS) -> tuple[Any, Any, Any]:
    """Core (r₁, r₂, kh, kw), A (out, r₁) and B (in, r₂) by orthogonal iteration (HOOI)."""
    tensor = np.asarray(weight, np.float64)
    outer = _leading(_unfold(tensor, 0), ranks[0])
    inner = _leading(_unfold(tensor, 1), ranks[1])
    for _ in range(sweeps):
        outer = _leading(
            _unfold(np.einsum("oikl,ir->orkl", tensor, inner, optimize=True), 0), ranks[0]
        )
        inner = _leading(
            _unfold(np.einsum("oikl,or->rikl", tensor, outer, optimize=True), 1), ranks[1]
        )
    core = np.einsum("oikl,or,is->rskl", tensor, outer, inner, optimize=True)
    return core, outer, inner


def block_terms(
    weight: Any, blocks: int, ranks: tuple[int, int], sweeps: int = 3
) -> list[tuple[Any, Any, Any]]:
    """``blocks`` Tucker-2 terms whose sum is near the weight: each fits what the others leave."""
    tensor = np.asarray(weight, np.float64)
    left = tensor.copy()
    terms: list[tuple[Any, Any, Any]] = []
    for sweep in range(sweeps):
        for place in range(blocks):
            if sweep:
                left += _term(terms[place])
            fitted = tucker2(left, ranks, sweeps=2)
            if sweep:
                terms[place] = fitted
            else:
                terms.append(fitted)
            left -= _term(fitted)
    return terms


def _term(term: tuple[Any, Any, Any]) -> Any:
    core, outer, inner = term
    return np.einsum("rskl,or,is->oikl", core, outer, inner, optimize=True)


def _unfold(tensor: Any, axis: int) -> Any:
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def _leading(matrix: Any, rank: int) -> Any:
    """The ``rank`` leading left singular vectors, from the smaller Gram matrix."""
    if matrix.shape[0] <= matrix.shape[1]:
        return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1][:, :rank]
    return np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]


def _start(matrix: Any, rank: int, random: Any) -> Any:
    vectors = _leading(matrix, min(rank, *matrix.shape))
    more = rank - vectors.shape[1]
    if more <= 0:
        return vectors
    return np.concatenate([vectors, random.normal(size=(len(matrix), more))], axis=1)


def _khatri_rao(factors: list[Any]) -> Any:
    """Columnwise Kronecker product, the first factor's index slowest."""
    total = factors[0]
    for factor in factors[1:]:
        total = np.einsum("ir,jr->ijr", total, factor).reshape(-1, factor.shape[1])
    return total


def _unfit(layer: Layer) -> str | None:
    if not isinstance(layer, ConvLayer):
        return "not a convolution"
    if layer.groups != 1 or 1 in layer.kernel:
        return "not a full convolution with a kernel above 1×1"
    if min(layer.weight.shape[:2]) < 4:
        return "it has fewer than 4 channels on one side"
    return None


# --- CP


def _cp_macs(layer: Layer, rank: int) -> int:
    out, inputs, height, width = layer.weight.shape
    return macs_of(layer, [((rank, inputs), (False, False)), ((rank, 1, height, 1), (True, False)),
                           ((rank, 1, 1, width), (False, True)),
                           ((out, rank), (False, False))])  # fmt: skip


def _cp(layer: Layer, rank: int, given: Given) -> Factors:
    outer, inner, rows, columns = cp(layer.weight, rank, seed=given.seed)
    stages = (
        Stage(inner.T[:, :, None, None]),
        Stage(rows.T[:, None, :, None], (True, False), rank),
        Stage(columns.T[:, None, None, :], (False, True), rank),
        Stage(outer[:, :, None, None]),
    )
    return Factors(stages, error_of(layer.weight, stages))


def _cp_sizes(layer: Layer) -> list[int]:
    out, inputs, height, width = layer.weight.shape
    return grid(min(out, inputs) * height * width // max(height, width))


# --- Tucker-2


def tucker_ranks(layer: Layer, size: int) -> tuple[int, int]:
    """Ranks at ``size`` sixteenths of the layer's channels."""
    out, inputs = layer.weight.shape[:2]
    return max(1, out * size // _PARTS), max(1, inputs * size // _PARTS)


def _tucker_macs(layer: Layer, size: int) -> int:
    out, inputs, height, width = layer.weight.shape
    outer, inner = tucker_ranks(layer, size)
    return macs_of(layer, [((inner, inputs), (False, False)),
                           ((outer, inner, height, width), (True, True)),
                           ((out, outer), (False, False))])  # fmt: skip


def _tucker(layer: Layer, size: int, given: Given) -> Factors:
    core, outer, inner = tucker2(layer.weight, tucker_ranks(layer, size))
    stages = (Stage(inner.T[:, :, None, None]), Stage(core, (True, True)),
              Stage(outer[:, :, None, None]))  # fmt: skip
    return Factors(stages, error_of(layer.weight, stages))


# --- block terms


def _block_ranks(layer: Layer, size: int) -> tuple[int, int]:
    outer, inner = tucker_ranks(layer, size)
    return max(1, outer // 2), max(1, inner // 2)


def _block_macs(layer: Layer, size: int) -> int:
    out, inputs, height, width = layer.weight.shape
    outer, inner = _block_ranks(layer, size)
    return macs_of(layer, [((BLOCKS * inner, inputs), (False, False)),
                           ((BLOCKS * outer, inner, height, width), (True, True)),
                           ((out, BLOCKS * outer), (False, False))])  # fmt: skip


def _block(layer: Layer, size: int, given: Given) -> Factors:
    terms = block_terms(layer.weight, BLOCKS, _block_ranks(layer, size))
    stages = (
        Stage(np.concatenate([inner.T for _, _, inner in terms])[:, :, None, None]),
        Stage(np.concatenate([core for core, _, _ in terms]), (True, True), BLOCKS),
        Stage(np.concatenate([outer for _, outer, _ in terms], axis=1)[:, :, None, None]),
    )
    return Factors(stages, error_of(layer.weight, stages))


def _sixteenths(layer: Layer) -> list[int]:
    return list(range(1, _PARTS))


CP_METHOD = Method(_unfit, _cp_sizes, _cp_macs, _cp)
TUCKER_METHOD = Method(_unfit, _sixteenths, _tucker_macs, _tucker)
BLOCK_METHOD = Method(_unfit, _sixteenths, _block_macs, _block)

CP = transform("cp", "CP decomposition", "C17", "full Conv above 1×1", CP_METHOD)
TUCKER2 = transform("tucker2", "Tucker-2 decomposition", "C18", "full Conv above 1×1",
                    TUCKER_METHOD)  # fmt: skip
BLOCK_TERM = transform("block_term", "Block-term decomposition", "C22", "full Conv above 1×1",
                       BLOCK_METHOD)  # fmt: skip
