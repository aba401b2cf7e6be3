"""Canonical forms of arithmetic: matrix products, reductions, normalisation, quantisation."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels.values import Call, Value, integers, rank

Attributes = dict[str, Any]
Result = tuple[Call, Attributes]

# Swapping the inputs of these changes nothing, so the description sorts them.
COMMUTATIVE = frozenset(
    {"Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor", "Equal", "BitwiseAnd",
     "BitwiseOr", "BitwiseXor"}
)  # fmt: skip

# The elements of a small constant never change the work of these.
VALUE_FREE = COMMUTATIVE | frozenset(
    {"Sub", "Div", "Mod", "Where", "Gather", "GatherElements", "GatherND", "Scatter",
     "ScatterElements", "ScatterND", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
     "MatMul", "MatMulInteger", "Gemm", "Conv", "ConvInteger", "QLinearConv", "QLinearMatMul",
     "QuantizeLinear", "DequantizeLinear", "LSTM", "GRU", "RNN", "Not", "PRelu", "Abs", "Neg",
     "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat",
     "com.microsoft.QGemm", "com.microsoft.QLinearAdd", "com.microsoft.QLinearMul",
     "com.microsoft.QEmbedLayerNormalization", "com.microsoft.FusedMatMul", "Concat", "Cast",
     "Identity", "Transpose", "ReverseSequence", "EyeLike", "Size", "Shape"}
)  # fmt: skip


def gemm(call: Call, attributes: Attributes) -> Result:
    """Gemm: a constant row that is added does not count, as a convolution's bias does not."""
    flags = {name: int(attributes.get(name, 0)) for name in ("transA", "transB")}
    added, result = call.input(2), call.output(0)
    if added is None or (added.constant and _is_row(added, result)):
        call = replace(call, inputs=call.inputs[:2])
    return call, flags


def _is_row(added: Value, result: Value | None) -> bool:
    if added.elements is None or added.shape is None:
        return False
    width = result.shape[-1] if result is not None and result.shape else None
    return added.elements == 1 or (added.elements == width and added.shape[-1] == width)


def reduction(call: Call, attributes: Attributes) -> Result:
    """Reduce…: sorted axes counted from the front, all of them where none are named."""
    dimensions = rank(call.input(0))
    axes = integers(call.input(1))
    if axes is None and call.input(1) is None:
        axes = attributes.get("axes")
        if not axes and dimensions is not None:
            idle = call.attributes.get("noop_with_empty_axes", 0)
            axes = [] if idle else list(range(dimensions))
    if axes is None:
        return call, attributes
    if not axes and dimensions is not None and not call.attributes.get("noop_with_empty_axes", 0):
        axes = list(range(dimensions))
    places = sorted(a + dimensions if a < 0 and dimensions is not None else a for a in axes)
    kept = {"keepdims": attributes["keepdims"]} if "keepdims" in attributes else {}
    return replace(call, inputs=call.inputs[:1]), {**kept, "axes": places}


def first_input_only(call: Call, attributes: Attributes) -> Result:
    """Clip and its like: bounds and ratios do not matter."""
    return replace(call, inputs=call.inputs[:1]), {}


def dropout(call: Call, attributes: Attributes) -> Result:
    """Dropout: a copy, unless it trains."""
    training = call.input(2)
    if training is not None and not (training.data is not None and not training.data.any()):
        return call, attributes
    return first_input_only(call, attributes)


def power(call: Call, attributes: Attributes) -> Result:
    """Pow: a constant exponent counts, for squares and cubes are multiplied out."""
    exponent = call.input(1)
    if exponent is None or exponent.data is None or exponent.data.size != 1:
        return call, attributes
    value = float(exponent.data.reshape(-1)[0])
    inputs = (call.inputs[0], replace(exponent, data=None))
    return replace(call, inputs=inputs), {**attributes, "exponent": value}


def linear_quantisation(call: Call, attributes: Attributes) -> Result:
    """QuantizeLinear, DequantizeLinear: the axis matters only where scales run along it."""
    scale = call.input(1)
    kept = {}
    if "block_size" in attributes:
        kept["block_size"] = attributes["block_size"]
    if rank(scale) != 0 and not (scale is not None and scale.elements == 1):
        axis = int(call.attributes.get("axis", 1))
        dimensions = rank(call.input(0))
        kept["axis"] = axis + dimensions if axis < 0 and dimensions is not None else axis
    return call, kept


def recurrent(call: Call, attributes: Attributes) -> Result:
    """LSTM, GRU, RNN: the hidden size from the recurrence weights."""
    weights = call.input(2)
    if "hidden_size" not in attributes and weights is not None and weights.shape:
        last = weights.shape[-1]
        if last is not None:
            attributes = {**attributes, "hidden_size": last}
    return call, attributes


def batch_normalisation(call: Call, attributes: Attributes) -> Result:
    """BatchNormalization at inference: only the first output is computed."""
    if not call.attributes.get("training_mode", 0) and call.opset >= 14:
        attributes = {}
    return call, {k: v for k, v in attributes.items() if k in ("training_mode", "spatial")}


def einsum(call: Call, attributes: Attributes) -> Result:
    """Einsum: letters renamed in order of appearance."""
    names: dict[str, str] = {}
    text = []
    for letter in str(call.attributes.get("equation", "")).replace(" ", ""):
        if letter.isalpha():
            letter = names.setdefault(letter, string.ascii_letters[len(names) % 52])
        text.append(letter)
    return call, {"equation": "".join(text)}


_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
               "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip

RULES: dict[str, Callable[[Call, Attributes], Result]] = {
    "Gemm": gemm,
    **dict.fromkeys(_REDUCTIONS, reduction),
    "Clip": first_input_only,
    "Dropout": dropout,
    "Pow": power,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), linear_quantisation),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "BatchNormalization": batch_normalisation,
    "Einsum": einsum,
}
