"""Folded values against onnx's own reference implementation."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from lwprof.profiler.graph.folding import LIMIT, fold
from lwprof.profiler.graph.inference import infer, tensors_of

WEIGHTS = (
    "<int64[6] v = {7,-3,0,4,12,-8}, int64[2,3] m = {1,2,3,4,5,6}, int64[1] zero = {0}, "
    "int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] low = {-1}, "
    "int64[1] end = {-9223372036854775807}, int64 s = {5}, float[3] f = {0.4,-1.6,2.5}, "
    "int64[2] sizes = {2,4}, bool[6] b = {1,0,1,1,0,0}, int64[3] col = {3,2,1}, "
    "int64 start = {1}, int64 limit = {9}, int64 step = {3}>"
)
BODIES = [
    "y = Gather(v, col)", "y = Gather<axis=1>(m, one)", "y = Concat<axis=0>(v, col)",
    "y = Slice(v, one, three)", "y = Slice(v, low, end, zero, low)", "y = Slice(m, one, two, one)",
    "y = Unsqueeze(v, zero)", "y = Squeeze(one)", "y = Reshape(m, three_low)",
    "y = Transpose(m)", "y = Flatten<axis=0>(m)", "y = Expand(one, sizes)", "y = Tile(v, two)",
    "y = Range(start, limit, step)", "y = ConstantOfShape<value=int64[1]{7}>(sizes)",
    "y = Where(b, v, zero)", "y = Add(m, col)", "y = Sub(v, s)", "y = Mul(m, col)",
    "y = Div(v, three)", "y = Div(v, low)", "y = Mod(v, three)", "y = Mod<fmod=1>(v, three)",
    "y = Pow(col, two)", "y = Neg(v)", "y = Abs(v)", "y = Sign(v)", "y = Min(v, s)",
    "y = Max(v, zero)", "y = Equal(v, zero)", "y = Greater(v, s)", "y = LessOrEqual(v, s)",
    "y = Not(b)", "y = And(b, b)", "y = Or(b, b)", "y = Xor(b, b)", "y = Floor(f)",
    "y = Ceil(f)", "y = Round(f)", "y = Cast<to=7>(f)", "y = Cast<to=9>(v)", "y = Identity(m)",
    "y = ReduceProd<keepdims=0>(col)", "y = ReduceSum(m, one)", "y = ReduceSum<keepdims=0>(m)",
    "y = ReduceMax<axes=[1]>(m)", "y = ReduceMin(m)", "y = ReduceMean<keepdims=0>(f)",
    "y = NonZero(v)", "y = Shape(m)", "y = Shape<start=1>(m)", "y = Size(m)",
    "y, z = Split(v, sizes)", "y = Reciprocal(f)",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_folded_value_is_what_the_reference_computes(parse, body):
    extra = "three_low = Constant<value_ints=[3,-1]>()\n"
    model = parse("() => (float q)", extra + body + "\nq = Constant<value_float=1.0>()", 17,
                  WEIGHTS)  # fmt: skip
    del model.graph.output[:]
    model.graph.output.add(name="y")
    expected = ReferenceEvaluator(model).run(None, {})[0]
    found = fold(model.graph, tensors_of(infer_lenient(model)))["y"]
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def infer_lenient(model):
    import onnx

    return onnx.shape_inference.infer_shapes(model).graph


@pytest.mark.parametrize(
    "body",
    ["y = ConstantOfShape(huge)", "y = Expand(one, huge)", "y = Tile(one, huge)",
     "y = Range(nought, big, unit)", "a = Unsqueeze(vec, one1)\ny = Mul(a, vec)"],
)  # fmt: skip
def test_nothing_large_is_ever_made(parse, body):
    vec = ",".join("1" * 400)
    weights = (
        "<int64[1] huge = {8589934592}, int64[1] one = {1}, int64[1] one1 = {1}, "
        "int64 nought = {0}, int64 big = {8589934592}, int64 unit = {1}, "
        f"int64[400] vec = {{{vec}}}>"
    )
    model = parse("() => (float q)", body + "\nq = Constant<value_float=1.0>()", 17, weights)
    assert LIMIT < 400 * 400
    assert "y" not in fold(model.graph, {})


@pytest.mark.parametrize("body", ["y = Div(one, zero)", "y = Gather(one, far)",
                                  "y = Reshape(one, far)", "y = Concat<axis=7>(one, one)"])  # fmt: skip
def test_what_cannot_be_computed_stays_unknown(parse, body):
    weights = "<int64[1] one = {1}, int64[1] zero = {0}, int64[1] far = {99}>"
    model = parse("() => (float q)", body + "\nq = Constant<value_float=1.0>()", 17, weights)
    assert "y" not in fold(model.graph, {})


def test_inference_uses_what_was_folded(parse):
    body = """
    s = Shape(x)
    n = Gather(s, zero)
    d = Div(n, two)
    m = Mul(d, two)
    u = Unsqueeze(m, first)
    t = Concat<axis=0>(u, low)
    y = Reshape(x, t)
    """
    weights = "<int64 zero = {0}, int64 two = {2}, int64[1] first = {0}, int64[1] low = {-1}>"
    model = parse("(float[6,4,5] x) => (float[A,B] y)", body, 17, weights)
    assert infer(model, "the model").tensors["y"].shape == (6, 20)
