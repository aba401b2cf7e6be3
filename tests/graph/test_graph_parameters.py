"""What counts as a learned parameter."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from lwprof.profiler.graph import read


def test_weights_and_biases_count_and_running_statistics_do_not(graph_of):
    graph = graph_of(
        "(float[1,2,4,4] x) => (float[1,3,4,4] y)",
        "a = Conv(x, w, b)\ny = BatchNormalization(a, s, t, m, v)",
        weights="<float[3,2,1,1] w = {1,2,3,4,5,6}, float[3] b = {1,2,3}, float[3] s = {1,2,3}, "
                "float[3] t = {1,2,3}, float[3] m = {1,2,3}, float[3] v = {1,2,3}>",
    )  # fmt: skip
    assert graph.params == 6 + 3 + 3 + 3
    assert [operator.params for operator in graph.operators] == [9, 6]


def test_shapes_indices_and_settings_do_not_count(graph_of):
    graph = graph_of(
        "(float[2,6] x) => (float[4,3] y)",
        "a = Reshape(x, s)\nb = Clip(a, lo, hi)\nc = Pow(b, two)\ny = Mul(c, half)",
        weights="<int64[2] s = {4,3}, float lo = {0}, float hi = {6}, float two = {2}, "
                "float[1] half = {0.5}>",
    )  # fmt: skip
    assert graph.params == 0


def test_a_shared_weight_counts_once_but_for_each_reader(graph_of):
    graph = graph_of(
        "(float[2,2] x) => (float[2,2] y)", "a = MatMul(x, w)\ny = MatMul(a, w)",
        weights="<float[2,2] w = {1,2,3,4}>",
    )  # fmt: skip
    assert graph.params == 4
    assert [operator.params for operator in graph.operators] == [4, 4]


def test_an_unused_weight_is_no_parameter(graph_of):
    graph = graph_of(
        "(float[2] x) => (float[2] y)", "y = Relu(x)", weights="<float[3] spare = {1,2,3}>"
    )
    assert graph.params == 0


def test_views_of_a_weight_count_as_the_weight_for_who_uses_it(graph_of):
    graph = graph_of(
        "(float[2,3] x) => (float[2,2] y)", "t = Transpose(w)\nu = Identity(t)\ny = MatMul(x, u)",
        weights="<float[2,3] w = {1,2,3,4,5,6}>",
    )  # fmt: skip
    assert graph.params == 6
    assert [operator.params for operator in graph.operators] == [0, 0, 6]


def test_constant_nodes_count(graph_of):
    graph = graph_of(
        "(float[2,2] x) => (float[2,2] y)",
        "w = Constant<value = float[2,2] {1,2,3,4}>()\ny = MatMul(x, w)",
    )
    assert graph.params == 4


def test_generated_weights_count_but_generated_masks_do_not(graph_of):
    body = (
        "w = ConstantOfShape<value = float[1] {0.02}>(s)\n"
        "zero = ConstantOfShape<value = float[1] {0.0}>(s)\n"
        "one = ConstantOfShape<value = float[1] {1.0}>(s)\n"
        "a = MatMul(x, w)\nb = Add(a, zero)\ny = Mul(b, one)"
    )
    graph = graph_of("(float[4,4] x) => (float[4,4] y)", body, weights="<int64[2] s = {4,4}>")
    assert graph.params == 16
    assert graph.generated == ("w",)


def test_quantised_weights_count_and_their_scales_do_not(graph_of):
    graph = graph_of(
        "(float[1,2] x) => (float[1,3] y)",
        "w = DequantizeLinear(q, s, z)\ny = MatMul(x, w)",
        weights="<int8[2,3] q = {1,2,3,4,5,6}, float s = {0.1}, int8 z = {0}>",
    )
    assert graph.params == 6


def test_integer_convolution_counts_weight_and_bias():
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "zw", "s", "z", "b"], ["y"])
    weights = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        numpy_helper.from_array(np.array(0, np.uint8), "z"),
        numpy_helper.from_array(np.array(0, np.int8), "zw"),
        numpy_helper.from_array(np.ones((4, 2, 3, 3), np.int8), "w"),
        numpy_helper.from_array(np.ones(4, np.int32), "b"),
    ]
    x = helper.make_tensor_value_info("x", 2, [1, 2, 5, 5])
    y = helper.make_tensor_value_info("y", 2, [1, 4, 3, 3])
    graph = helper.make_graph([node], "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert read(model).params == 4 * 2 * 9 + 4


@pytest.mark.parametrize(("dtype", "counted"), [(np.int8, 6), (np.int64, 0)])
def test_a_quantised_embedding_counts_and_shape_arithmetic_does_not(dtype, counted):
    table = numpy_helper.from_array(np.arange(6).astype(dtype), "t")
    indices = helper.make_tensor_value_info("i", 7, [2])
    result = helper.make_tensor_value_info("y", table.data_type, [2])
    node = helper.make_node("Gather", ["t", "i"], ["y"])
    graph = helper.make_graph([node], "g", [indices], [result], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert read(model).params == counted


def test_caffes_split_normalisation_counts_its_scale_once(graph_of):
    weights = ("<float[3] s = {1,1,1}, float[3] t = {0,0,0}, float[3] m = {1,2,3}, "
               "float[3] v = {1,2,3}, float[3,1,1] g = {1,2,3}, float[3,1,1] b = {1,2,3}>")  # fmt: skip
    signature = "(float[1,3,2,2] x) => (float[1,3,2,2] y)"
    affine = "a = BatchNormalization(x, s, t, m, v)\nc = Mul(a, g)\ny = Add(c, b)"
    assert graph_of(signature, affine, weights=weights).params == 6
    plain = "a = BatchNormalization(x, s, t, m, v)\nc = Mul(a, a)\ny = Add(c, b)"
    assert graph_of(signature, plain, weights=weights).params == 3 + 3 + 3


def test_weights_that_only_a_body_reads_belong_to_the_operator_that_carries_it(graph_of):
    body = """
    y = If (c) <
      then_branch = t () => (float[2,2] p) { p = MatMul(x, w) },
      else_branch = e () => (float[2,2] q) { q = Relu(x) }
    >
    """
    graph = graph_of("(float[2,2] x, bool c) => (float[2,2] y)", body,
                     weights="<float[2,2] w = {1,2,3,4}>")  # fmt: skip
    assert graph.params == 4
    assert graph.operators[0].params == 4


@pytest.mark.parametrize("layout", ["QDQ", "QOperator"])
def test_quantising_a_network_changes_neither_macs_nor_parameters(parse, tmp_path, layout):
    from onnxruntime import quantization

    signature = "(float[1,3,16,16] x) => (float[1,5] y)"
    body = """
    a = Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(x, w, b)
    c = Relu(a)
    d = Conv<kernel_shape=[1,1]>(c, v)
    e = Add(c, d)
    f = AveragePool<kernel_shape=[2,2], strides=[2,2]>(e)
    g = Concat<axis=1>(f, f)
    h = GlobalAveragePool(g)
    i = Flatten(h)
    y = Gemm(i, fc, bias)
    """
    model = parse(signature, body, 17, "<float[1] unused = {1}>")
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "v": (4, 4, 1, 1), "fc": (8, 5), "bias": (5,)}
    for name, shape in shapes.items():
        weight = rng.standard_normal(shape, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    plain, quantised = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    plain.write_bytes(model.SerializeToString())

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": rng.standard_normal((1, 3, 16, 16), dtype=np.float32)}]

        def get_next(self):
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        plain, quantised, Reader(), quant_format=quantization.QuantFormat[layout], per_channel=True
    )
    before, after = read(plain), read(quantised)
    assert before.params == 4 * 27 + 4 + 16 + 40 + 5
    assert before.macs == 4 * 256 * 27 + 4 * 256 * 4 + 40
    assert (after.params, after.macs, after.unknown) == (before.params, before.macs, ())
    assert after.size_bytes < before.size_bytes + 4000
    assert after.outputs[0].shape == (1, 5)
