"""Equal transforms keep the outputs; substitutions cost exactly what the formulas say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from compression_models import Small
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof import zoo
from lwprof.compression.layers import conv_layers
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.running import output_error
from lwprof.compression.structure import substitution
from lwprof.compression.structure.batch_norm import FOLD_BATCH_NORM
from lwprof.compression.structure.merging import MERGE_LINEAR
from lwprof.compression.structure.reparameterisation import REPARAMETERISE
from lwprof.profiler.graph import read


def _types(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("name", ["mobilenet_v2", "mnasnet_b1", "googlenet", "shufflenet_v2_x0_5"])
def test_folding_takes_out_every_norm_behind_a_layer_and_keeps_the_outputs(name: str) -> None:
    model = zoo.build(name, resolution=64, width=None)
    folded = FOLD_BATCH_NORM.apply(model)
    assert len(folded.changed) == _types(model).count("BatchNormalization") > 0
    assert "BatchNormalization" not in _types(folded.model)
    assert output_error(model, folded.model) < 1e-5
    assert read(folded.model).peak_memory_bytes <= read(model).peak_memory_bytes


def test_a_norm_before_its_layer_is_left_alone_and_named() -> None:
    net = Small((1, 8, 6, 6))
    net.op("Relu", net.conv(net.norm("x", 8), 4, 8))
    folded = FOLD_BATCH_NORM.apply(net.model("relu2"))
    assert not folded.applied
    assert list(folded.refused) == ["batchnormalization0"]
    assert "read elsewhere" in folded.reason or "no convolution" in folded.reason


@pytest.mark.parametrize(
    ("name", "deployed"), [("repvgg_a0", "repvgg_a0_deploy"), ("repghostnet", "repghostnet_deploy")]
)
def test_training_form_becomes_the_deployed_form_with_equal_outputs(
    name: str, deployed: str
) -> None:
    model = zoo.build(name, resolution=64)
    merged = FOLD_BATCH_NORM.apply(REPARAMETERISE.apply(model).model).model
    assert output_error(model, merged) < 1e-5
    reference = zoo.build(deployed, resolution=64)
    assert output_error(reference, merged) < 1e-4  # the zoo draws the same numbers for both
    for kind in ("Conv", "Add"):
        assert _types(merged).count(kind) == _types(reference).count(kind)


def test_a_residual_sum_of_different_inputs_is_not_merged() -> None:
    net = Small((1, 8, 6, 6))
    inner = net.op("Relu", net.conv("x", 8, 8))
    net.op("Add", "x", net.conv(inner, 8, 8))
    assert not REPARAMETERISE.apply(net.model("add3")).applied


def test_branches_of_one_input_merge_though_another_term_stays() -> None:
    net = Small((1, 8, 6, 6))
    other = net.op("Relu", "x")
    branches = net.op("Add", net.conv("x", 8, 8, 1), net.norm(net.conv("x", 8, 8, 5), 8))
    net.op("Add", branches, other)
    model = net.model(f"add{len(net.nodes) - 1}")
    merged = REPARAMETERISE.apply(model)
    assert _types(merged.model).count("Conv") == 1
    assert output_error(model, merged.model) < 1e-5


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24), st.booleans(), st.integers(0, 9))
def test_two_linear_layers_merge_exactly_when_that_saves_work(
    inputs: int, middle: int, outputs: int, dense: bool, seed: int
) -> None:
    net = Small((1, inputs) if dense else (1, inputs, 5, 5), seed)
    if dense:
        first = net.op("Gemm", "x", net.weight(middle, inputs), net.weight(middle), transB=1)
        last = net.op("Gemm", first, net.weight(middle, outputs), net.weight(outputs))
    else:
        last = net.conv(net.conv("x", middle, inputs, 1), outputs, middle, 1)
    model = net.model(last)
    merged = MERGE_LINEAR.apply(model)
    assert merged.applied == (inputs * outputs < middle * (inputs + outputs))
    if merged.applied:
        assert len(merged.model.graph.node) == 1
        assert output_error(model, merged.model) < 1e-5
    else:
        assert "cost more" in merged.reason


def test_a_strided_convolution_takes_a_1x1_behind_it_into_itself() -> None:
    net = Small((1, 6, 9, 9))
    last = net.conv(net.norm(net.conv("x", 16, 6, 3, strides=[2, 2]), 16), 8, 16, 1)
    model = net.model(last)
    merged = MERGE_LINEAR.apply(model)
    assert _types(merged.model) == ["Conv"]
    assert output_error(model, merged.model) < 1e-5


def test_matrix_products_with_their_biases_merge() -> None:
    net = Small((1, 7, 12))
    first = net.op("Add", net.op("MatMul", "x", net.weight(12, 30)), net.weight(30, scale=1.0))
    last = net.op("Add", net.weight(5, scale=1.0), net.op("MatMul", first, net.weight(30, 5)))
    model = net.model(last)
    merged = MERGE_LINEAR.apply(model)
    assert _types(merged.model) == ["MatMul", "Add"]
    assert output_error(model, merged.model) < 1e-5


def _single(channels: int, out: int, kernel: int) -> Any:
    net = Small((1, channels, 12, 12))
    return net.model(net.conv("x", out, channels, kernel))


@pytest.mark.parametrize(("channels", "out", "kernel"), [(16, 32, 3), (8, 24, 5), (32, 128, 3)])
def test_depthwise_separable_costs_exactly_1_over_n_and_1_over_k2(
    channels: int, out: int, kernel: int
) -> None:
    model = _single(channels, out, kernel)
    done = substitution.DEPTHWISE_SEPARABLE.apply(model)
    ratio = Fraction(read(done.model).macs, read(model).macs)
    assert ratio == Fraction(1, out) + Fraction(1, kernel**2)
    assert done.equivalence == "substituted" and done.error is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_groups_cost_exactly_1_over_g(place: int) -> None:
    model = _single(16, 32, 3)
    transform = substitution.GROUPS[place]
    done = read(transform.apply(model).model)
    before = read(model)
    groups = 2 ** (place + 1)
    assert done.macs * groups == before.macs
    assert (done.params - 32) * groups == before.params - 32  # biases stay


def test_depthwise_separable_is_exact_where_each_channel_has_rank_one() -> None:
    net = Small((1, 8, 7, 7))
    depth = net.random.normal(size=(8, 3, 3))
    point = net.random.normal(size=(5, 8))
    weight = np.einsum("oi,ikl->oikl", point, depth)
    model = net.model(net.op("Conv", "x", net.keep(weight), pads=[1] * 4))
    assert output_error(model, substitution.DEPTHWISE_SEPARABLE.apply(model).model) < 1e-5


def test_stacks_of_3x3_save_what_the_survey_says() -> None:
    for kernel, saved in ((5, Fraction(18, 25)), (7, Fraction(27, 49))):
        model = _single(32, 32, kernel)
        done = substitution.SMALL_KERNELS.apply(model)
        assert Fraction(read(done.model).macs, read(model).macs) == saved


def test_a_ghost_module_has_half_the_filters_and_a_cheap_half() -> None:
    model = _single(16, 32, 3)
    done = read(substitution.GHOST.apply(model).model)
    assert done.macs == read(model).macs // 2 + 16 * 9 * 144
    assert [op.type for op in done.operators] == ["Conv", "Conv", "Concat"]


def test_a_concat_becomes_a_sum_and_its_reader_narrower() -> None:
    net = Small((1, 8, 6, 6))
    joined = net.op("Concat", net.conv("x", 8, 8), net.conv("x", 8, 8, 1), axis=1)
    model = net.model(net.conv(joined, 4, 16, 1))
    done = substitution.CONCAT_TO_ADD.apply(model)
    assert _types(done.model).count("Add") == 1 and "Concat" not in _types(done.model)
    assert [layer.in_channels for layer in conv_layers(Rewriting(read(done.model)))] == [8, 8, 8]


def test_a_reduction_keeps_a_convolution_of_low_input_rank_exact() -> None:
    net = Small((1, 32, 7, 7))
    weight = np.einsum("orkl,ri->oikl", net.random.normal(size=(9, 8, 3, 3)),
                       net.random.normal(size=(8, 32)))  # fmt: skip
    model = net.model(net.op("Conv", "x", net.keep(weight), pads=[1] * 4))
    assert output_error(model, substitution.POINTWISE_REDUCTION.apply(model).model) < 1e-5


ALL = (*substitution.GROUPS, substitution.DEPTHWISE_SEPARABLE, substitution.GHOST,
       substitution.SMALL_KERNELS, substitution.POINTWISE_REDUCTION, substitution.CONCAT_TO_ADD,
       FOLD_BATCH_NORM, REPARAMETERISE, MERGE_LINEAR)  # fmt: skip


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "ds_cnn"])
def test_every_transform_gives_a_valid_model_of_the_same_face_and_leaves_the_original(
    name: str,
) -> None:
    model = zoo.build(name) if name == "ds_cnn" else zoo.build(name, resolution=64)
    before = model.SerializeToString(deterministic=True)
    face = [value.SerializeToString() for value in (*model.graph.input, *model.graph.output)]
    for transform in ALL:
        done = transform.apply(model)
        onnx.checker.check_model(done.model)
        read(done.model)
        kept = [v.SerializeToString() for v in (*done.model.graph.input, *done.model.graph.output)]
        assert kept == face
        assert done.applied or done.reason
    assert model.SerializeToString(deterministic=True) == before
