"""Factorisations: errors against closed forms and tensorly, chains against their products."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from compression_models import Small
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lwprof.compression.factorisation import matrices, responses, tensors
from lwprof.compression.factorisation.choosing import Method
from lwprof.compression.factorisation.stages import error_of, product, write
from lwprof.compression.layers import conv_layers, dense_layers
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.running import output_error
from lwprof.compression.transform import Given
from lwprof.profiler.graph import read

METHODS = {
    "svd": matrices.SVD_METHOD, "low_rank_filters": matrices.FILTERS_METHOD,
    "spatial": matrices.SPATIAL_METHOD, "filter_group": matrices.GROUP_METHOD,
    "cp": tensors.CP_METHOD, "tucker2": tensors.TUCKER_METHOD, "block_term": tensors.BLOCK_METHOD,
}  # fmt: skip


def _conv(out: int, channels: int, kernel: int = 3, seed: int = 0, **attributes: Any) -> Any:
    net = Small((1, channels, 11, 9), seed)
    return net.model(net.conv("x", out, channels, kernel, **attributes))


def _layer(model: Any) -> tuple[Rewriting, Any]:
    rewriting = Rewriting(read(model))
    return rewriting, [*conv_layers(rewriting), *dense_layers(rewriting)][0]


@pytest.mark.parametrize("name", [n for n in METHODS if n != "svd"])
@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1]}, {"pads": [0, 1, 2, 1]}])
def test_a_chain_computes_exactly_the_convolution_with_its_product(
    name: str, attributes: dict[str, Any]
) -> None:
    model = _conv(12, 8, 3, **attributes)
    rewriting, layer = _layer(model)
    method: Method = METHODS[name]
    size = method.sizes(layer)[len(method.sizes(layer)) // 2]
    factors = method.factorise(layer, size, Given())
    write(rewriting, layer, factors)
    chain = rewriting.finish()
    assert read(chain).macs == method.macs(layer, size)

    from onnx import numpy_helper

    full = read(model).proto
    for tensor in full.graph.initializer:
        if len(tensor.dims) == 4:
            array = product(factors.stages).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert output_error(full, chain) < 1e-5


@settings(deadline=None, max_examples=15)
@drawn(st.integers(2, 20), st.integers(2, 20), st.integers(1, 20), st.integers(0, 99))
def test_svd_error_is_the_closed_form_of_eckart_and_young(
    out: int, inputs: int, rank: int, seed: int
) -> None:
    weight = np.random.default_rng(seed).normal(size=(out, inputs))
    rank = min(rank, out, inputs)
    values = np.linalg.svd(weight, compute_uv=False)
    closed = np.sqrt((values[rank:] ** 2).sum() / (values**2).sum())
    left, right = matrices.truncated(weight, rank)
    assert np.linalg.norm(weight - left @ right) / np.linalg.norm(weight) == pytest.approx(
        closed, abs=1e-12
    )
    assert matrices.tail_errors([weight], [rank])[0] == pytest.approx(closed, abs=1e-7)


@pytest.mark.parametrize("name", ["svd", "low_rank_filters", "spatial", "filter_group"])
def test_closed_form_errors_are_those_of_the_chains(name: str) -> None:
    _, layer = _layer(_conv(12, 8, 1 if name == "svd" else 3))
    method: Method = METHODS[name]
    sizes = list(method.sizes(layer))
    assert method.errors is not None
    promised = method.errors(layer, sizes)
    found = [method.factorise(layer, size, Given()).error for size in sizes]
    assert np.allclose(promised, found, atol=1e-6)
    assert found[-1] < 1e-6 and all(a >= b - 1e-9 for a, b in itertools.pairwise(found))


def test_tucker_error_equals_tensorly() -> None:
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import partial_tucker

    weight = np.random.default_rng(3).normal(size=(12, 10, 3, 3))
    weight += 4 * np.einsum("or,ir,rkl->oikl", *(np.random.default_rng(4).normal(size=s)
                            for s in ((12, 3), (10, 3), (3, 3, 3))))  # fmt: skip
    core, outer, inner = tensors.tucker2(weight, (5, 4), sweeps=60)
    ours = np.linalg.norm(weight - np.einsum("rskl,or,is->oikl", core, outer, inner))
    (their_core, their), _ = partial_tucker(weight, rank=[5, 4], modes=[0, 1], n_iter_max=200,
                                            tol=1e-12)  # fmt: skip
    rebuilt = tensorly.tenalg.multi_mode_dot(their_core, their, modes=[0, 1])
    assert ours == pytest.approx(np.linalg.norm(weight - rebuilt), rel=1e-3)


def test_cp_error_is_no_worse_than_tensorly() -> None:
    pytest.importorskip("tensorly")
    from tensorly.cp_tensor import cp_to_tensor
    from tensorly.decomposition import parafac

    weight = np.random.default_rng(5).normal(size=(10, 9, 3, 3))
    parts = tensors.cp(weight, 8, sweeps=150)
    ours = np.linalg.norm(weight - np.einsum("ar,br,cr,dr->abcd", *parts))
    best = min(
        float(np.linalg.norm(weight - cp_to_tensor(parafac(
            weight, rank=8, n_iter_max=150, init="random", random_state=start, tol=1e-12))))
        for start in range(3)
    )  # fmt: skip
    # Both end in local optima: ours may be the better, and must not be clearly worse.
    assert ours <= best * 1.03


def test_cp_recovers_a_planted_decomposition() -> None:
    random = np.random.default_rng(6)
    planted = [random.normal(size=(n, 4)) for n in (14, 12, 3, 3)]
    weight = np.einsum("ar,br,cr,dr->abcd", *planted)
    found = tensors.cp(weight, 4, sweeps=300)
    error = np.linalg.norm(weight - np.einsum("ar,br,cr,dr->abcd", *found))
    assert error < 1e-3 * np.linalg.norm(weight)


def test_block_terms_recover_a_sum_of_tucker_terms_better_than_one_term() -> None:
    random = np.random.default_rng(7)
    weight = np.zeros((16, 16, 3, 3))
    for _ in range(4):
        a, b = random.normal(size=(16, 2)), random.normal(size=(16, 2))
        weight += np.einsum("rskl,or,is->oikl", random.normal(size=(2, 2, 3, 3)), a, b)

    def error(blocks: int, sweeps: int) -> float:
        terms = tensors.block_terms(weight, blocks, (2, 2), sweeps)
        return float(np.linalg.norm(weight - sum(tensors._term(t) for t in terms)))

    one, four, more = error(1, 3), error(4, 1), error(4, 12)
    assert more <= four < 0.7 * one


def test_an_error_bound_chooses_the_smallest_rank_and_a_low_rank_layer_is_found() -> None:
    random = np.random.default_rng(8)
    low = random.normal(size=(48, 5)) @ random.normal(size=(5, 64))
    low += 0.01 * np.linalg.norm(low) / np.sqrt(low.size) * random.normal(size=low.shape)
    net = Small((3, 64))
    model = net.model(net.op("Gemm", "x", net.keep(low), net.weight(48, scale=1.0), transB=1))
    done = matrices.SVD.apply(model, Given(error=0.02))
    assert [read(done.model).tensors[n].shape for n in ("gemm0.weight",)] == [(5, 64)]
    assert done.error is not None and done.error < 0.02
    assert output_error(model, done.model) < 0.05


def test_a_layer_of_full_rank_is_refused_with_the_reason() -> None:
    done = matrices.SVD.apply(_conv(32, 32, 1), Given(error=0.05))
    assert not done.applied and "would cost more" in done.reason


@pytest.mark.parametrize("name", list(METHODS))
def test_a_share_of_the_work_is_kept_to(name: str) -> None:
    method: Method = METHODS[name]
    model = _conv(32, 32, 1 if name == "svd" else 3)
    _, layer = _layer(model)
    transform = {"svd": matrices.SVD, "low_rank_filters": matrices.LOW_RANK_FILTERS,
                 "spatial": matrices.SPATIAL, "filter_group": matrices.FILTER_GROUP,
                 "cp": tensors.CP, "tucker2": tensors.TUCKER2,
                 "block_term": tensors.BLOCK_TERM}[name]  # fmt: skip
    done = transform.apply(model, Given(work=0.5))
    macs = read(done.model).macs
    assert 0.3 * layer.macs < macs <= 0.5 * layer.macs
    assert done.error is not None and 0 < done.error < 1
    assert macs in {method.macs(layer, size) for size in method.sizes(layer)}


def test_a_cost_model_that_sees_a_loss_has_its_layer_refused() -> None:
    model = _conv(32, 32, 3)

    def by_nodes(layer: Any) -> float:
        return float(len(layer.graph.node))

    done = matrices.LOW_RANK_FILTERS.apply(model, Given(work=0.5, price=by_nodes))
    assert not done.applied and "2.00 × its time" in done.reason
    done = matrices.LOW_RANK_FILTERS.apply(model, Given(work=0.5, price=lambda m: read(m).macs))
    assert done.applied


def _responding(seed: int) -> tuple[Any, list[dict[str, Any]]]:
    """A convolution, a ReLU, and data whose patches lie in few directions."""
    net = Small((1, 6, 12, 12), seed)
    model = net.model(net.op("Relu", net.conv("x", 24, 6)))
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(6, 3))
    feeds = [{"x": np.einsum("cm,mhw->chw", mixing, random.normal(size=(3, 12, 12)))
              [None].astype(np.float32)} for _ in range(4)]  # fmt: skip
    return model, feeds


def test_response_aware_beats_the_weights_own_svd_after_the_activation() -> None:
    for seed in range(3):
        model, feeds = _responding(seed)
        given = Given(data=feeds, work=0.4)
        plain = matrices.LOW_RANK_FILTERS.apply(model, given)
        aware = responses.RESPONSE_AWARE.apply(model, given)
        errors = [output_error(model, done.model, feeds) for done in (plain, aware)]
        assert errors[1] < errors[0]
        assert aware.error == pytest.approx(errors[1], rel=0.15)


def test_response_aware_without_data_is_refused() -> None:
    model, _ = _responding(0)
    assert "calibration data" in responses.RESPONSE_AWARE.apply(model).reason


def test_without_activation_reduced_rank_is_the_pca_of_the_responses() -> None:
    y = np.random.default_rng(0).normal(size=(500, 12)) @ np.random.default_rng(1).normal(
        size=(12, 12)
    )
    values = np.linalg.svd(y - y.mean(axis=0), compute_uv=False)
    p, q, offset, error = responses.fit_responses(y, 4, rectified=False)
    assert p.shape == (12, 4) and q.shape == (4, 12) and offset.shape == (12,)
    assert error == pytest.approx(np.sqrt((values[4:] ** 2).sum()) / np.linalg.norm(y), rel=1e-6)


def test_rectified_fit_is_never_worse_than_the_linear_one() -> None:
    y = np.random.default_rng(2).normal(size=(600, 16)) - 0.4
    p, q, offset = responses.reduced_rank(y, y, 6)
    linear = np.linalg.norm(np.maximum(y, 0) - np.maximum(y @ q.T @ p.T + offset, 0))
    error = responses.fit_responses(y, 6, rectified=True)[3]
    assert error <= linear / np.linalg.norm(np.maximum(y, 0)) + 1e-12
    assert error < 0.97 * linear / np.linalg.norm(np.maximum(y, 0))


def test_errors_of_chains_are_measured_not_promised() -> None:
    _, layer = _layer(_conv(8, 8, 3))
    stages = matrices.FILTERS_METHOD.factorise(layer, 3, Given()).stages
    by_hand = product(stages)
    weight = np.asarray(layer.weight, np.float64)
    assert error_of(weight, stages) == pytest.approx(
        np.linalg.norm(weight - by_hand) / np.linalg.norm(weight)
    )
