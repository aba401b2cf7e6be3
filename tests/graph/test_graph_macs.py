"""MACs against closed forms computed by hand, and against loops that count products."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from lwprof.profiler.graph import read

CASES = [
    # operator, inputs, result, attributes, MACs by hand
    ("conv", "(float[1,3,224,224] x, float[64,3,7,7] w) => (float[1,64,112,112] y)",
     "y = Conv<pads=[3,3,3,3], strides=[2,2]>(x, w)", 64 * 112 * 112 * 3 * 7 * 7),
    ("depthwise", "(float[1,32,56,56] x, float[32,1,3,3] w) => (float[1,32,56,56] y)",
     "y = Conv<pads=[1,1,1,1], group=32>(x, w)", 32 * 56 * 56 * 9),
    ("grouped", "(float[2,8,10,10] x, float[12,4,3,3] w, float[12] b) => (float[2,12,8,8] y)",
     "y = Conv<group=2>(x, w, b)", 2 * 12 * 8 * 8 * 4 * 9),
    ("dilated 1-d", "(float[1,4,20] x, float[6,4,3] w) => (float[1,6,12] y)",
     "y = Conv<dilations=[4]>(x, w)", 6 * 12 * 4 * 3),
    ("3-d", "(float[1,2,5,5,5] x, float[3,2,2,2,2] w) => (float[1,3,4,4,4] y)",
     "y = Conv(x, w)", 3 * 64 * 2 * 8),
    ("transposed", "(float[1,16,7,7] x, float[16,8,4,4] w) => (float[1,8,14,14] y)",
     "y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w)", 16 * 7 * 7 * 8 * 16),
    ("transposed grouped", "(float[1,4,5,5] x, float[4,3,2,2] w) => (float[1,6,10,10] y)",
     "y = ConvTranspose<strides=[2,2], group=2>(x, w)", 4 * 25 * 3 * 4),
    ("gemm", "(float[5,7] a, float[7,11] b, float[11] c) => (float[5,11] y)",
     "y = Gemm(a, b, c)", 5 * 7 * 11),
    ("gemm transposed", "(float[7,5] a, float[11,7] b) => (float[5,11] y)",
     "y = Gemm<transA=1, transB=1>(a, b)", 5 * 7 * 11),
    ("matmul", "(float[3,4] a, float[4,5] b) => (float[3,5] y)", "y = MatMul(a, b)", 60),
    ("batched", "(float[2,1,3,4] a, float[6,4,5] b) => (float[2,6,3,5] y)",
     "y = MatMul(a, b)", 2 * 6 * 3 * 5 * 4),
    ("vectors", "(float[9] a, float[9] b) => (float y)", "y = MatMul(a, b)", 9),
    ("vector matrix", "(float[4] a, float[2,4,5] b) => (float[2,5] y)", "y = MatMul(a, b)", 40),
    ("integer", "(uint8[3,4] a, int8[4,5] b) => (int32[3,5] y)", "y = MatMulInteger(a, b)", 60),
    ("integer conv", "(uint8[1,2,6,6] x, uint8[3,2,3,3] w) => (int32[1,3,4,4] y)",
     "y = ConvInteger(x, w)", 3 * 16 * 2 * 9),
    ("quantised conv", ("(uint8[1,2,6,6] x, float s, uint8 z, int8[3,2,3,3] w, int8 zw) "
     "=> (uint8[1,3,4,4] y)"), "y = QLinearConv(x, s, z, w, s, zw, s, z)", 3 * 16 * 2 * 9),
    ("quantised matmul", "(uint8[3,4] a, float s, uint8 z, uint8[4,5] b) => (uint8[3,5] y)",
     "y = QLinearMatMul(a, s, z, b, s, z, s, z)", 60),
    ("lstm", "(float[7,2,5] x, float[1,12,5] w, float[1,12,3] r) => (float[7,1,2,3] y)",
     "y = LSTM<hidden_size=3>(x, w, r)", 7 * 2 * 4 * 3 * (5 + 3)),
    ("gru both ways", "(float[7,2,5] x, float[2,9,5] w, float[2,9,3] r) => (float[7,2,2,3] y)",
     'y = GRU<hidden_size=3, direction="bidirectional">(x, w, r)', 2 * 7 * 2 * 3 * 3 * (5 + 3)),
    ("rnn", "(float[7,2,5] x, float[1,3,5] w, float[1,3,3] r) => (float[7,1,2,3] y)",
     "y = RNN<hidden_size=3>(x, w, r)", 7 * 2 * 3 * (5 + 3)),
    ("einsum product", "(float[2,3,4] a, float[2,4,5] b) => (float[2,3,5] y)",
     'y = Einsum<equation="bij,bjk->bik">(a, b)', 2 * 3 * 4 * 5),
    ("einsum dots", "(float[7,2,3,4] a, float[7,2,4,5] b) => (float[7,2,3,5] y)",
     'y = Einsum<equation="...ij,...jk->...ik">(a, b)', 14 * 3 * 4 * 5),
    ("einsum outer", "(float[3] a, float[4] b) => (float[3,4] y)",
     'y = Einsum<equation="i,j->ij">(a, b)', 12),
    ("einsum elementwise", "(float[3,4] a, float[3,4] b) => (float[3,4] y)",
     'y = Einsum<equation="ij,ij->ij">(a, b)', 0),
    ("einsum transpose", "(float[3,4] a) => (float[4,3] y)", 'y = Einsum<equation="ij->ji">(a)', 0),
    ("einsum three", "(float[2,3] a, float[3,4] b, float[4,5] c) => (float[2,5] y)",
     'y = Einsum<equation="ij,jk,kl->il">(a, b, c)', 2 * 3 * 4 + 2 * 4 * 5),
    ("relu", "(float[4,4] x) => (float[4,4] y)", "y = Relu(x)", 0),
    ("batch norm", "(float[1,4,3,3] x, float[4] s) => (float[1,4,3,3] y)",
     "y = BatchNormalization(x, s, s, s, s)", 0),
    ("pool", "(float[1,4,8,8] x) => (float[1,4,4,4] y)",
     "y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", 0),
    ("softmax", "(float[1,10] x) => (float[1,10] y)", "y = Softmax(x)", 0),
]  # fmt: skip


@pytest.mark.parametrize(("signature", "body", "macs"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_macs_equal_the_closed_form(graph_of, signature, body, macs):
    graph = graph_of(signature, body)
    assert graph.macs == macs
    assert graph.unknown == ()


def test_attention_counts_both_products_for_every_query_head(graph_of):
    signature = ("(float[2,8,10,16] q, float[2,2,12,16] k, float[2,2,12,20] v) "
                 "=> (float[2,8,10,20] y)")  # fmt: skip
    graph = graph_of(signature, "y = Attention(q, k, v)", opset=24)
    assert graph.macs == 2 * 8 * 10 * 12 * (16 + 20)


def test_attention_with_packed_heads_and_a_cache(graph_of):
    signature = ("(float[1,4,32] q, float[1,4,16] k, float[1,4,16] v, "
                 "float[1,2,6,8] pk, float[1,2,6,8] pv) => (float[1,4,32] y, "
                 "float[1,2,10,8] nk, float[1,2,10,8] nv)")  # fmt: skip
    body = "y, nk, nv = Attention<q_num_heads=4, kv_num_heads=2>(q, k, v, , pk, pv)"
    assert graph_of(signature, body, opset=24).macs == 4 * 4 * (6 + 4) * (8 + 8)


def test_deformable_convolution_counts_as_its_convolution(graph_of):
    signature = "(float[1,2,4,4] x, float[3,2,2,2] w, float[1,8,3,3] o) => (float[1,3,3,3] y)"
    assert graph_of(signature, "y = DeformConv(x, w, o)", opset=22).macs == 3 * 9 * 2 * 4


def test_what_has_no_closed_form_is_unknown_and_never_zero(graph_of):
    graph = graph_of("(float[3,3] x) => (float y, float[3,3] z)", "y = Det(x)\nz = Relu(x)")
    assert graph.macs is None
    assert graph.unknown == ("Det",)
    assert [operator.macs for operator in graph.operators] == [None, 0]


def test_a_vendor_operator_nobody_knows_is_unknown(graph_of):
    body = "a = com.microsoft.Strange(x)\ny = Relu(a)"
    graph = graph_of("(float[3,3] x) => (float[3,3] y)", body)
    assert graph.macs is None
    assert "Strange" in graph.unknown
    assert graph.peak_memory_bytes is None


def test_vendor_convolution_and_quantised_addition_are_counted_and_shaped(graph_of):
    body = (
        'a = com.microsoft.FusedConv<activation="Relu", pads=[1,1,1,1]>(x, w)\n'
        "b = com.microsoft.Gelu(a)\n"
        "y = com.microsoft.FusedMatMul<transB=1>(b, b)"
    )
    graph = graph_of("(float[1,2,4,4] x, float[3,2,3,3] w) => (float[1,3,4,4] y)", body)
    assert graph.tensors["y"].shape == (1, 3, 4, 4)
    assert graph.macs == 3 * 16 * 2 * 9 + 3 * 4 * 4 * 4
    assert graph.unknown == ()


def counted_by_loops(x, w, strides, pads, dilations, group):
    """Products of a 2-d convolution, padding included, one loop turn each."""
    n, _, height, width = x
    m, per_group, kh, kw = w
    out_h = (height + pads[0] + pads[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    out_w = (width + pads[1] + pads[3] - dilations[1] * (kw - 1) - 1) // strides[1] + 1
    turns = 0
    for _ in product(range(n), range(m), range(out_h), range(out_w)):
        for _ in product(range(per_group), range(kh), range(kw)):
            turns += 1
    return turns


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_convolution_macs_equal_the_loop_nest(data):
    draw = data.draw
    group = draw(st.sampled_from([1, 2]))
    x = (draw(st.integers(1, 2)), 2 * group, draw(st.integers(5, 8)), draw(st.integers(5, 8)))
    w = (group * draw(st.integers(1, 3)), 2, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    strides = [draw(st.integers(1, 3)) for _ in range(2)]
    dilations = [draw(st.integers(1, 2)) for _ in range(2)]
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=strides, pads=pads,
                            dilations=dilations, group=group)  # fmt: skip
    weight = numpy_helper.from_array(np.zeros(w, np.float32), "w")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, x)],
        [helper.make_tensor_value_info("y", 1, [None] * 4)], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert read(model).macs == counted_by_loops(x, w, strides, pads, dilations, group)


def test_every_onnx_operator_is_counted_zero_or_knowingly_unknown():
    from lwprof.profiler.graph.macs import _FORMULAS
    from lwprof.profiler.graph.zero_macs import counts_zero

    neither = set()
    for schema in onnx.defs.get_all_schemas():
        ours = schema.domain == "lwprof.inference"
        if schema.deprecated or ours or (not schema.domain and schema.since_version > 28):
            continue
        key = (schema.domain, schema.name)
        assert not (key in _FORMULAS and counts_zero(*key)), key
        if key not in _FORMULAS and not counts_zero(*key):
            neither.add(schema.name)
    assert neither == {
        "DFT", "STFT", "Det", "ImageDecoder", "Gradient", "If", "Loop", "Scan", "SequenceMap",
        "SVMClassifier", "SVMRegressor", "TreeEnsemble",
    }  # fmt: skip
