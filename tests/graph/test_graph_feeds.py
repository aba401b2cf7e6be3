"""Input data that fits: ONNX Runtime must take it, and what comes out must be numbers."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from lwprof.agents.program.inputs import build
from lwprof.profiler.graph import input_specs


def run(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, build(input_specs(graph)))


CASES = {
    "indices": ("(float[7,3] t, int64[2,5] i) => (float[2,5,3] y)", "y = Gather(t, i)"),
    "indices through a cast": ("(float[7,3] t, int32[2,5] i) => (float[2,5,3] y)",
                               "j = Cast<to=7>(i)\ny = Gather(t, j)"),
    "two tables": ("(float[7,3] t, float[4,3] u, int64[5] i) => (float[5,3] y)",
                   "a = Gather(t, i)\nb = Gather(u, i)\ny = Add(a, b)"),
    "coordinates": ("(float[4,5,6] t, int64[3,2] i) => (float[3,6] y)", "y = GatherND(t, i)"),
    "a shape": ("(float[2,6] x, int64[3] s) => (float[3,2,2] y)", "y = Reshape(x, s)"),
    "an open shape": ("(float[2,6] x, int64[3] s) => (float[A,B,C] y)", "y = Reshape(x, s)"),
    "a target": ("(float[3,1] x, int64[3] s) => (float[2,3,4] y)", "y = Expand(x, s)"),
    "repeats": ("(float[2,3] x, int64[2] r) => (float[4,9] y)", "y = Tile(x, r)"),
    "a slice": ("(float[9,4] x, int64[1] s, int64[1] e, int64[1] a) => (float[5,4] y)",
                "y = Slice(x, s, e, a)"),
    "padding": ("(float[2,3] x, int64[4] p) => (float[3,5] y)", "y = Pad(x, p)"),
    "sizes": ("(float[1,2,4,4] x, int64[4] s) => (float[1,2,8,6] y)", "y = Resize(x, , , s)"),
    "scales": ("(float[1,2,4,4] x, float[4] s) => (float[1,2,8,12] y)", "y = Resize(x, , s)"),
    "the k largest": ("(float[4,9] x, int64[1] k) => (float[4,3] y, int64[4,3] i)",
                      "y, i = TopK(x, k)"),
    "axes": ("(float[2,3,4] x, int64[1] a) => (float[2,4] y)", "y = ReduceSum<keepdims=0>(x, a)"),
    "new axes": ("(float[2,3] x, int64[2] a) => (float[1,2,3,1] y)", "y = Unsqueeze(x, a)"),
    "parts": ("(float[7] x, int64[2] s) => (float[3] y, float[4] z)", "y, z = Split(x, s)"),
    "labels": ("(float[4,6] x, int64[4] t) => (float y)", "y = NegativeLogLikelihoodLoss(x, t)"),
    "depth": ("(int64[5] i, int64 d, float[2] v) => (float[5,7] y)", "y = OneHot(i, d, v)"),
    "lengths": (("(float[6,2,3] x, float[1,4,3] w, float[1,4,4] r, int32[2] n) "
                "=> (float[6,1,2,4] y)"), "y = RNN<hidden_size=4>(x, w, r, , n)"),
    "a count of trips": ("(float[2] x, int64 n, bool c) => (float[2] y)",
                         ("y = Loop (n, c, x) <body = b (int64 i, bool ci, float[2] h) => "
                         "(bool co, float[2] k) { co = Identity(ci) k = Relu(h) }>")),
    "a condition": ("(float[2] x, bool c) => (float[2] y)",
                    ("y = If (c) <then_branch = t () => (float[2] p) { p = Relu(x) }, "
                    "else_branch = e () => (float[2] q) { q = Neg(x) }>")),
    "logarithms": ("(float[9] x) => (float[9] y)", "y = Log(x)"),
    "a divisor": ("(int64[9] a, int64[9] b) => (int64[9] y)", "y = Div(a, b)"),
    "variance": ("(float[1,4,3] x, float[4] s, float[4] v) => (float[1,4,3] y)",
                 "y = BatchNormalization(x, s, s, s, v)"),
    "an item": ("(seq(float[2,3]) s, int64 i) => (float[2,3] y)", "y = SequenceAt(s, i)"),
    "words": ("(string[3] x) => (string[3] y)", "y = Identity(x)"),
    "captured indices": ("(float[7,3] t, int64[2] i, bool c) => (float[2,3] y)",
                         ("y = If (c) <then_branch = a () => (float[2,3] p) { p = Gather(t, i) }, "
                         "else_branch = e () => (float[2,3] q) { q = Gather(t, i) }>")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_runtime_takes_the_data_and_gives_the_declared_shape(graph_of, parse, name):
    signature, body = CASES[name]
    graph = graph_of(signature, body, input_shapes=None)
    declared = parse(signature, body).graph.output[0].type.tensor_type.shape.dim
    result = run(graph)[0]
    for extent, dim in zip(np.shape(result), declared, strict=True):
        assert not dim.HasField("dim_value") or extent == dim.dim_value
    if getattr(result, "dtype", None) == np.float32:
        assert np.isfinite(result).all()


def test_the_same_seed_gives_the_same_data(graph_of):
    graph = graph_of("(float[4,5] x) => (float[4,5] y)", "y = Relu(x)")
    first, again, other = (build(input_specs(graph, seed))["x"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.unique(first).size > 1


def test_inputs_of_one_graph_differ(graph_of):
    graph = graph_of("(float[50] a, float[50] b) => (float[50] y)", "y = Add(a, b)")
    data = build(input_specs(graph))
    assert not np.array_equal(data["a"], data["b"])


def test_masks_let_everything_through(graph_of):
    body = "a = Cast<to=1>(attention_mask)\ny = Mul(a, x)"
    graph = graph_of("(float[1,4] x, int64[1,4] attention_mask) => (float[1,4] y)", body)
    assert build(input_specs(graph))["attention_mask"].tolist() == [[1, 1, 1, 1]]


def test_pictures_use_the_whole_range(graph_of):
    graph = graph_of("(uint8[1,64,64,3] x) => (float[1,64,64,3] y)", "y = Cast<to=1>(x)")
    data = build(input_specs(graph))["x"]
    assert data.min() == 0
    assert data.max() == 255
