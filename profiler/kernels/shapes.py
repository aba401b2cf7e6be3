"""Types and shapes of an operator's outputs, for ONNX's operators and for a runtime's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.graph.inference import tensor_from_type
from lwprof.profiler.kernels.fused import channels_first
from lwprof.profiler.kernels.schemas import schema_of
from lwprof.profiler.kernels.spatial import convolution, pool, pooled_extents
from lwprof.profiler.kernels.values import Call, Shape, Value, join_type, split_type

_UNKNOWN = Value(None, None)

# Operators outside ai.onnx that work like one of its: layout, fused activations.
_LIKE = {
    "com.microsoft.FusedConv": "Conv", "com.microsoft.NhwcFusedConv": "Conv",
    "com.microsoft.FusedGemm": "Gemm", "com.microsoft.NhwcMaxPool": "MaxPool",
    "com.microsoft.QLinearAveragePool": "AveragePool",
    "com.microsoft.QLinearGlobalAveragePool": "GlobalAveragePool",
    "com.microsoft.QLinearConv": "QLinearConv",
    "com.microsoft.QLinearAdd": "_broadcast_quantised",
    "com.microsoft.QLinearMul": "_broadcast_quantised",
    "com.microsoft.QLinearConcat": "_concatenated_quantised",
    "com.microsoft.FusedMatMul": "_fused_matmul", "com.microsoft.TransposeMatMul": "_fused_matmul",
    "com.microsoft.DynamicQuantizeMatMul": "MatMul", "com.microsoft.MatMulIntegerToFloat": "MatMul",
}  # fmt: skip


def output_values(node: Any, inputs: Sequence[Value | None], opset: int) -> list[Value]:
    """One value per output of ``node``; fields are None where nothing can be said.

    Args:
        node: a ``NodeProto``.
        inputs: its input values by position, with logical (NCHW) extents.
        opset: version of ``ai.onnx`` that the node's model imports.
    """
    op = join_type(node.domain, node.op_type)
    domain, name = split_type(op)
    call = Call(op, attributes_of(node), tuple(inputs), tuple(_UNKNOWN for _ in node.output), opset)
    rule = _RULES.get(_LIKE.get(op, name if domain else op))
    if domain and rule is not None:
        return _padded(rule(call), len(node.output))
    if domain:
        return _padded(_like_first(call), len(node.output))
    return _inferred(node, call) or _padded(_fallback(call), len(node.output))


def _padded(found: Sequence[Value], count: int) -> list[Value]:
    return [*found, *([_UNKNOWN] * count)][:count]


def _inferred(node: Any, call: Call) -> list[Value] | None:
    """ONNX's own inference; None where it has none or refuses."""
    schema = schema_of(call.op, call.opset)
    if schema is None:
        return None
    types, data = {}, {}
    for name, value in zip(node.input, call.inputs, strict=True):
        if not name:
            continue
        if value is None or value.dtype not in NUMBERS or value.kind in ("map", "sparse"):
            return None
        types[name] = _type_proto(value)
        if value.data is not None:
            data[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(value.data))
    imports = [onnx.helper.make_opsetid("", call.opset)]
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=imports
        )
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        return None
    values = []
    for name in node.output:
        if name not in found:
            values.append(_UNKNOWN)
            continue
        tensor = tensor_from_type(name, found[name])
        values.append(Value(tensor.dtype, tensor.shape, kind=tensor.kind))
    if any(value.dtype is None or value.shape is None for value in values[:1]):
        return None
    return values


def _type_proto(value: Value) -> Any:
    inner = onnx.helper.make_tensor_type_proto(NUMBERS[value.dtype or ""], value.shape)
    if value.kind == "sequence":
        return onnx.helper.make_sequence_type_proto(inner)
    return onnx.helper.make_optional_type_proto(inner) if value.kind == "optional" else inner


def _fallback(call: Call) -> list[Value]:
    return _like_first(call) if call.op in _ELEMENTWISE else []


# Without a rule in ONNX, or used by ONNX Runtime before the opset in which ONNX has them.
_ELEMENTWISE = frozenset(
    {"LayerNormalization", "SimplifiedLayerNormalization", "GroupNormalization",
     "RMSNormalization", "MeanVarianceNormalization", "Gelu", "Mish", "HardSwish", "Celu"}
)  # fmt: skip


def _like_first(call: Call) -> list[Value]:
    """Elementwise: type and shape of the first input."""
    first = call.input(0)
    return [] if first is None else [Value(first.dtype, first.shape)]


def _convolved(call: Call) -> list[Value]:
    plain = channels_first(call)
    weight_place = 3 if plain.op.endswith("QLinearConv") else 1
    data, weight = plain.input(0), plain.input(weight_place)
    if data is None or weight is None or data.known_shape is None or weight.known_shape is None:
        return _like_rank(data)
    op = "QLinearConv" if weight_place == 3 else "Conv"
    attributes = {**plain.attributes}
    shaped = Call(op, attributes, plain.inputs, plain.outputs, plain.opset)
    _, window = convolution(shaped, attributes)
    extents = pooled_extents(window, data.known_shape[2:])
    if extents is None:
        return _like_rank(data)
    shape = (data.known_shape[0], weight.known_shape[0], *extents)
    return [Value(data.dtype, _stored(call, plain, shape))]


def _pooled(call: Call) -> list[Value]:
    plain = channels_first(call)
    data = plain.input(0)
    if data is None or data.known_shape is None:
        return _like_rank(data)
    attributes = {k: v for k, v in plain.attributes.items() if k != "ceil_mode"}
    _, window = pool(Call("MaxPool", attributes, plain.inputs, plain.outputs), attributes)
    if "pads" not in window:
        return _like_rank(data)
    if plain.attributes.get("ceil_mode"):
        window["pads"] = [
            *window["pads"][: len(window["strides"])],
            *(
                pad + stride - 1
                for pad, stride in zip(
                    window["pads"][len(window["strides"]) :], window["strides"], strict=True
                )
            ),
        ]
    extents = pooled_extents(window, data.known_shape[2:])
    if extents is None:
        return _like_rank(data)
    return [Value(data.dtype, _stored(call, plain, (*data.known_shape[:2], *extents)))]


def _globally_pooled(call: Call) -> list[Value]:
    plain = channels_first(call)
    data = plain.input(0)
    if data is None or data.shape is None:
        return []
    shape = (*data.shape[:2], *([1] * (len(data.shape) - 2)))
    return [Value(data.dtype, _stored(call, plain, shape))]


def _stored(call: Call, plain: Call, shape: Shape) -> Shape:
    """The extents as the runtime stores them: channels last where the call has them last."""
    return shape if plain is call else (shape[0], *shape[2:], shape[1])


def _like_rank(data: Value | None) -> list[Value]:
    if data is None:
        return []
    return [Value(data.dtype, None if data.shape is None else (None,) * len(data.shape))]


def _upsampled(call: Call) -> list[Value]:
    data, scales = call.input(0), call.attributes.get("scales")
    if data is None or data.known_shape is None or not scales:
        return _like_rank(data)
    shape = tuple(int(e * s) for e, s in zip(data.known_shape, scales, strict=False))
    return [Value(data.dtype, shape)]


def _reordered(call: Call) -> list[Value]:
    """Layout changes keep the logical extents, but for the padding that they cut off."""
    data = call.input(0)
    if data is None or data.shape is None:
        return [] if data is None else [Value(data.dtype, None)]
    shape = data.shape
    last = bool(call.attributes.get("channels_last")) and len(shape) > 2
    if call.op.endswith("ReorderInput"):
        return [Value(data.dtype, (shape[0], shape[-1], *shape[1:-1]) if last else shape)]
    channels = call.attributes.get("channels")
    if channels and len(shape) > 1:
        shape = (shape[0], channels, *shape[2:])
    return [Value(data.dtype, (shape[0], *shape[2:], shape[1]) if last else shape)]


def _multiplied(call: Call) -> list[Value]:
    left, right = call.input(0), call.input(1)
    if left is None or right is None or left.shape is None or right.shape is None:
        return [] if left is None else [Value(left.dtype, None)]
    a, b = list(left.shape), list(right.shape)
    if call.attributes.get("transA") and len(a) > 1:
        a[-1], a[-2] = a[-2], a[-1]
    if call.attributes.get("transB") and len(b) > 1:
        b[-1], b[-2] = b[-2], b[-1]
    if len(a) < 2 or len(b) < 2:
        return [Value(left.dtype, None)]
    batch = _broadcast(tuple(a[:-2]), tuple(b[:-2]))
    shape = None if batch is None else (*batch, a[-2], b[-1])
    dtype = "float32" if split_type(call.op)[1] == "MatMulIntegerToFloat" else left.dtype
    return [Value(dtype, shape)]


def _broadcast_quantised(call: Call) -> list[Value]:
    left, right = call.input(0), call.input(3)
    if left is None or right is None or left.shape is None or right.shape is None:
        return [] if left is None else [Value(left.dtype, None)]
    return [Value(left.dtype, _broadcast(left.shape, right.shape))]


def _quantised_gemm(call: Call) -> list[Value]:
    left, right = call.input(0), call.input(3)
    if left is None or right is None or left.shape is None or right.shape is None:
        return []
    rows = left.shape[1 if call.attributes.get("transA") else 0]
    columns = right.shape[0 if call.attributes.get("transB") else 1]
    return [Value(left.dtype if call.input(7) is not None else "float32", (rows, columns))]


def _broadcast(left: Shape, right: Shape) -> Shape | None:
    length = max(len(left), len(right))
    a = (1,) * (length - len(left)) + left
    b = (1,) * (length - len(right)) + right
    shape: list[int | None] = []
    for x, y in zip(a, b, strict=True):
        if x == 1 or x == y:
            shape.append(y)
        elif y == 1:
            shape.append(x)
        else:
            return None
    return tuple(shape)


def _concatenated(call: Call) -> list[Value]:
    first, axis = call.input(0), int(call.attributes.get("axis", 1))
    shapes = [value.known_shape for value in call.inputs if value is not None]
    if first is None or not shapes or any(shape is None for shape in shapes):
        return _like_rank(first)
    known = [shape for shape in shapes if shape is not None]
    total = list(known[0])
    total[axis] = sum(shape[axis] for shape in known)
    return [Value(first.dtype, tuple(total))]


def _concatenated_quantised(call: Call) -> list[Value]:
    """Scale and zero point of the result, then each part with its own two."""
    parts = call.inputs[2::3]
    return _concatenated(Call(call.op, call.attributes, parts, call.outputs))


_RULES: dict[str, Callable[[Call], list[Value]]] = {
    "Conv": _convolved,
    "QLinearConv": _convolved,
    "MaxPool": _pooled,
    "AveragePool": _pooled,
    "GlobalMaxPool": _globally_pooled,
    "GlobalAveragePool": _globally_pooled,
    "Upsample": _upsampled,
    "ReorderInput": _reordered,
    "ReorderOutput": _reordered,
    "MatMul": _multiplied,
    "Gemm": _multiplied,
    "QGemm": _quantised_gemm,
    "_fused_matmul": _multiplied,
    "_broadcast_quantised": _broadcast_quantised,
    "_concatenated_quantised": _concatenated_quantised,
    "Concat": _concatenated,
}
