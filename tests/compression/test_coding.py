"""Codes: bit counts against independent ones, the entropy bound, exact decoding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof import zoo
from lwprof.compression.quantisation import coding
from lwprof.compression.running import output_error
from lwprof.profiler.graph import read


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_huffman_codes_decode_exactly_and_lie_within_a_bit_of_the_entropy(
    symbols: list[int],
) -> None:
    counts = {s: symbols.count(s) for s in set(symbols)}
    lengths = coding.huffman_lengths(counts)
    assert sum(2.0**-length for length in lengths.values()) <= 1  # Kraft
    stream = coding.encode(np.array(symbols), lengths)
    assert coding.decode(stream, lengths) == symbols
    bound = coding.entropy_bits(counts)
    assert bound - 1e-9 <= len(stream) <= bound + len(symbols)


@pytest.mark.parametrize("shape", [(96, 3, 11, 11), (256, 96, 5, 5), (512, 1024)])
def test_alexnet_shapes_take_the_bits_of_the_stream_itself_within_1_percent_of_entropy(
    shape: tuple[int, ...],
) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    bits = coding.CONV_BITS if len(shape) == 4 else coding.DENSE_BITS
    indices, centres = coding.shared(weight, bits)
    assert len(np.unique(indices)) <= 2**bits
    flat = coding.blocks(indices, bits)
    counts = {int(s): int(c) for s, c in zip(*np.unique(flat, return_counts=True), strict=True)}
    lengths = coding.huffman_lengths(counts)
    stream = "".join(map(coding.canonical_codes(lengths).__getitem__, flat.tolist()))
    coded = coding.deep(weight, bits)
    kinds = 256 if bits == 8 else 1024
    assert coded.bits == len(stream) + len(centres) * 32 + 8 * kinds
    single = {int(s): int(c) for s, c in zip(*np.unique(indices, return_counts=True), strict=True)}
    assert len(stream) <= 1.01 * coding.entropy_bits(single)
    assert np.array_equal(coded.values, centres[indices])


def test_k_means_is_no_worse_than_evenly_spread_values_and_keeps_zeros() -> None:
    weight = np.random.default_rng(1).laplace(size=4000)
    weight[::3] = 0
    indices, centres = coding.shared(weight, 4)
    found = centres[indices]
    assert np.array_equal(found == 0, weight == 0)
    even = np.linspace(weight.min(), weight.max(), 15)
    spread = even[np.abs(weight[:, None] - even).argmin(axis=1)]
    assert np.square(weight - found).sum() < np.square(weight - spread).sum()


def test_scales_are_the_least_squares_ones() -> None:
    weight = np.random.default_rng(2).normal(size=(4, 6, 3, 3))
    signs = np.where(weight >= 0, 1.0, -1.0).reshape(4, -1)
    scale = (signs * weight.reshape(4, -1)).sum(axis=1) / (signs**2).sum(axis=1)
    assert np.allclose(coding.xnor(weight).values.reshape(4, -1), signs * scale[:, None])
    assert coding.xnor(weight).bits == 216 + 4 * 32
    assert coding.ternary(weight).bits == 2 * 216 + 32
    assert len(np.unique(coding.ternary(weight).values)) == 3
    assert coding.binary(weight).bits == 216


def test_sizes_of_a_network_agree_with_a_count_by_hand() -> None:
    model = zoo.build("lenet5")
    graph = read(model)
    done = coding.BINARY.apply(model)
    weights = [t for t in graph.proto.graph.initializer if len(t.dims) > 1]
    inner = sum(math.prod(t.dims) for t in weights[1:-1])
    everything = sum(math.prod(t.dims) for t in graph.proto.graph.initializer)
    constants = graph.params - everything
    assert constants == 0
    structural = (done.size_bytes or 0) - ((everything - inner) * 32 + inner + 7) // 8
    assert 0 <= structural <= 64  # shapes of reshapes, if any
    assert done.simulated and "float kernels" in done.notes[0]


@pytest.mark.parametrize("transform", [coding.DEEP_COMPRESSION, coding.TERNARY, coding.XNOR])
def test_coded_models_run_and_are_smaller(transform: object) -> None:
    model = zoo.build("squeezenet1_1", resolution=64)
    done = transform.apply(model)  # type: ignore[attr-defined]
    assert done.applied and done.size_bytes < 0.5 * read(model).size_bytes
    assert 0 < output_error(model, done.model) < 2
    assert read(done.model).macs == read(model).macs
