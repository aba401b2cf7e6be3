"""Weights as codes: shared values with Huffman codes, ternary, binary and XNOR (C02, C13–C15).

No runtime has kernels for these forms, so the rewritten model computes the same numbers with
dense float kernels and its time says nothing of the technique (``simulated``); what is exact
is the number of bits that the weights take.

- Deep Compression (Han et al., arXiv 1510.00149): k-means over a layer's weights, 2^b shared
  values, Huffman codes of the indices; zeros that pruning left keep a value of their own.
- BNN (arXiv 1602.02830): sign(w), 1 bit. XNOR-Net (arXiv 1603.05279): sign(w) times the mean
  of |w| of the filter. TWN (arXiv 1605.04711): α · {−1, 0, 1} with the threshold 0.7 mean|w|.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer, DenseLayer, conv_layers, dense_layers
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.transform import Draft, Transform

CONV_BITS, DENSE_BITS = 8, 5
"""Of the shared values' indices, as Deep Compression uses them."""
_KMEANS_ROUNDS = 20
_FLOAT_BITS = 32


@dataclass(frozen=True, slots=True)
class Coded:
    """One weight tensor as codes.

    Attributes:
        values: what the codes stand for, as a float array of the weight's shape.
        bits: of everything stored: codes, code lengths, shared values, scales.
    """

    values: Any
    bits: int


def huffman_lengths(counts: Mapping[int, int]) -> dict[int, int]:
    """Code length in bits of each symbol of an optimal prefix code (Huffman, 1952).

    One symbol alone has length 1: a decoder must be able to count it.
    """
    present = {symbol: count for symbol, count in counts.items() if count > 0}
    if len(present) == 1:
        return dict.fromkeys(present, 1)
    order = itertools.count()
    heap = [(count, next(order), [symbol]) for symbol, count in sorted(present.items())]
    heapq.heapify(heap)
    lengths = dict.fromkeys(present, 0)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*first[2], *second[2]):
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], next(order), first[2] + second[2]))
    return lengths


def canonical_codes(lengths: Mapping[int, int]) -> dict[int, str]:
    """The canonical code of given lengths, as text of 0 and 1: lengths alone need be stored."""
    code, last, out = 0, 0, {}
    for symbol, length in sorted(lengths.items(), key=lambda item: (item[1], item[0])):
        code <<= length - last
        out[symbol] = format(code, f"0{length}b")
        code, last = code + 1, length
    return out


def encode(indices: Any, lengths: Mapping[int, int]) -> str:
    """The bit stream of a sequence of symbols."""
    codes = canonical_codes(lengths)
    return "".join(codes[int(index)] for index in np.asarray(indices).reshape(-1))


def decode(stream: str, lengths: Mapping[int, int]) -> list[int]:
    """The symbols of a bit stream."""
    symbols = {code: symbol for symbol, code in canonical_codes(lengths).items()}
    out, start = [], 0
    for stop in range(1, len(stream) + 1):
        if stream[start:stop] in symbols:
            out.append(symbols[stream[start:stop]])
            start = stop
    return out


def entropy_bits(counts: Mapping[int, int]) -> float:
    """Σ n log₂(N / n): fewer bits no code of single symbols can take (Shannon)."""
    numbers = np.array([count for count in counts.values() if count > 0], dtype=np.float64)
    return float((numbers * np.log2(numbers.sum() / numbers)).sum())


def shared(weight: Any, bits: int) -> tuple[Any, Any]:
    """Indices (of the weight's shape) and shared values by one-dimensional k-means.

    Starts from evenly spread values, as Deep Compression advises; exact zeros keep index 0.
    """
    flat = np.asarray(weight, np.float64).reshape(-1)
    nonzero = flat[flat != 0]
    room = 2**bits - (1 if len(nonzero) < len(flat) else 0)
    if not len(nonzero):
        return np.zeros(np.shape(weight), np.int64), np.zeros(1)
    distinct = np.unique(nonzero)
    centres = distinct if len(distinct) <= room else np.linspace(nonzero.min(), nonzero.max(), room)
    ordered = np.sort(nonzero)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_KMEANS_ROUNDS if len(distinct) > room else 0):
        edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(ordered)]])
        sizes = np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(sizes, 1)
        centres = np.sort(np.where(sizes > 0, means, centres))
    if len(nonzero) < len(flat):
        centres = np.concatenate([[0.0], centres])
        places = np.zeros(len(flat), np.int64)
        places[flat != 0] = 1 + _nearest(centres[1:], nonzero)
    else:
        places = _nearest(centres, flat)
    return places.reshape(np.shape(weight)), centres


def _nearest(centres: Any, values: Any) -> Any:
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values)


def blocks(indices: Any, bits: int) -> Any:
    """Symbols that are coded: indices, in pairs where they are few.

    A code of whole bits for one of 32 symbols lies up to 1 % above the entropy; for pairs of
    them it does not. An odd one at the end is paired with 0.
    """
    flat = np.asarray(indices).reshape(-1)
    if bits > DENSE_BITS:
        return flat
    even = np.append(flat, 0) if len(flat) % 2 else flat
    return even[::2] * 2**bits + even[1::2]


def deep(weight: Any, bits: int) -> Coded:
    """Shared values with Huffman codes; the code book (values and code lengths) counts too."""
    indices, centres = shared(weight, bits)
    symbols, counts = np.unique(blocks(indices, bits), return_counts=True)
    table = {int(s): int(c) for s, c in zip(symbols, counts, strict=True)}
    lengths = huffman_lengths(table)
    stream = sum(table[symbol] * length for symbol, length in lengths.items())
    kinds = 2 ** (2 * bits if bits <= DENSE_BITS else bits)
    book = len(centres) * _FLOAT_BITS + 8 * kinds
    return Coded(centres[indices].reshape(np.shape(weight)), stream + book)


def binary(weight: Any) -> Coded:
    """sign(w) with sign(0) = 1: one bit per weight."""
    return Coded(np.where(np.asarray(weight) >= 0, 1.0, -1.0), int(np.size(weight)))


def xnor(weight: Any) -> Coded:
    """Signs times a scale per filter, which is what brings them nearest to the weights."""
    flat = np.asarray(weight, np.float64).reshape(len(weight), -1)
    scale = np.abs(flat).mean(axis=1, keepdims=True)
    values = np.where(flat >= 0, scale, -scale).reshape(np.shape(weight))
    return Coded(values, int(np.size(weight)) + len(weight) * _FLOAT_BITS)


def ternary(weight: Any) -> Coded:
    """α · {−1, 0, 1}, two bits per weight and a scale per layer."""
    array = np.asarray(weight, np.float64)
    kept = np.abs(array) > 0.7 * np.abs(array).mean()
    scale = float(np.abs(array[kept]).mean()) if kept.any() else 0.0
    return Coded(np.where(kept, np.sign(array) * scale, 0.0), 2 * array.size + _FLOAT_BITS)


def _code(draft: Draft, code: Callable[[Any, bool], Coded], *, ends: bool) -> None:
    """Replaces weights by what their codes stand for, and counts the bits.

    Args:
        ends: whether the first and the last layer are coded too; binary networks keep them.
    """
    rewriting = draft.rewriting
    layers: list[ConvLayer | DenseLayer] = [
        *conv_layers(rewriting), *dense_layers(rewriting)
    ]  # fmt: skip
    total = 8 * sum(array.nbytes for array in _stored(rewriting))
    kept = {layers[0].node.name, layers[-1].node.name} if layers and not ends else set()
    done: set[str] = set()
    for layer in layers:
        name = layer.node.input[1]
        if layer.node.name in kept:
            draft.refused[layer.node.name] = "the first and the last layer keep their precision"
        elif name not in done:
            done.add(name)
            coded = code(layer.weight, isinstance(layer, ConvLayer))
            total += coded.bits - 8 * layer.weight.nbytes
            _replace(rewriting, layer.node, layer.weight, coded.values)
            norm = float(np.linalg.norm(layer.weight))
            draft.note_error(float(np.linalg.norm(layer.weight - coded.values)) / (norm or 1.0))
            draft.changed.append(layer.node.name)
    if draft.changed:
        draft.size_bytes, draft.simulated = -(-total // 8), True
        draft.notes.append("no kernels exist: time is that of dense float kernels")


def _replace(rewriting: Rewriting, node: Any, weight: Any, values: Any) -> None:
    """Stores new numbers for a node's weight the way round that the node has it."""
    old: Any = rewriting.constant(node.input[1])
    turned = values.T if old.shape != values.shape or not _same(old, weight) else values
    array = np.ascontiguousarray(turned).astype(old.dtype)
    fresh = rewriting.add_constant(array, f"{node.name}.coded")
    for reader in rewriting.consumers(node.input[1]):
        for place, name in enumerate(reader.input):
            if name == node.input[1] and reader is not node:
                rewriting.set_input(reader, place, fresh)
    rewriting.set_input(node, 1, fresh)


def _same(old: Any, weight: Any) -> bool:
    return old.shape == weight.shape and np.array_equal(old, weight)


def _stored(rewriting: Rewriting) -> list[Any]:
    names = dict.fromkeys(name for node in rewriting.nodes for name in node.input)
    return [array for name in names if (array := rewriting.constant(name)) is not None]


def _coding(id: str, technique: str, row: str, code: Any, *, ends: bool) -> Transform:
    return Transform(id, technique, row, "approximate", "Conv, Gemm and MatMul",
                     lambda draft: _code(draft, code, ends=ends))  # fmt: skip


DEEP_COMPRESSION = _coding(
    "deep_compression", "Weight sharing and Huffman codes (Deep Compression)", "C02",
    lambda weight, conv: deep(weight, CONV_BITS if conv else DENSE_BITS), ends=True,
)  # fmt: skip
BINARY = _coding("binary", "Binarized weights (BNN)", "C13", lambda weight, conv: binary(weight),
                 ends=False)  # fmt: skip
TERNARY = _coding("ternary", "Ternary weights (TWN)", "C14", lambda weight, conv: ternary(weight),
                  ends=False)  # fmt: skip
XNOR = _coding("xnor", "Binary weights with scales (XNOR-Net)", "C15",
               lambda weight, conv: xnor(weight), ends=False)  # fmt: skip
