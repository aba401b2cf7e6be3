"""Calls from shapes that a person wrote down, for ``lwprof.workload``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from lwprof.errors import UsageError
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.kernels.fused import unfused
from lwprof.profiler.kernels.schemas import schema_of
from lwprof.profiler.kernels.shapes import output_values
from lwprof.profiler.kernels.values import Call, Value, split_type

# Inputs that are weights by nature, by position.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1, 2, 3), "DeformConv": (1, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8), "Gemm": (1, 2),
    "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7), "MatMulInteger": (1, 2, 3),
    "BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2), "GroupNormalization": (1, 2), "RMSNormalization": (1,),
    "PRelu": (1,), "LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
}  # fmt: skip

# Integer inputs that are parameters: int64 and constant unless told otherwise.
_PARAMETERS: dict[str, tuple[int, ...]] = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Slice": (1, 2, 3, 4), "Pad": (1, 3),
    "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "TopK": (1,), "CumSum": (1,),
    "Trilu": (1,), "ConstantOfShape": (0,), "Resize": (3,), "OneHot": (1,),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
         "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"), (1,)),
}  # fmt: skip


def calls_from_shapes(
    op: str | Sequence[str],
    inputs: Sequence[Sequence[int] | None],
    attributes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    dtype: str | Sequence[str],
    constant: Sequence[bool] | Mapping[int, Any] | None,
    opset: int | None,
) -> list[Call]:
    """The calls that ``lwprof.workload`` describes; its docstring says what they mean.

    Raises:
        UsageError: the operator is unknown or the shapes do not fit it.
    """
    ops = [op] if isinstance(op, str) else list(op)
    each = _attributes_of_each(attributes, len(ops))
    if not ops:
        raise UsageError("a workload needs at least one operator type, as 'Conv'")
    version = onnx.defs.onnx_opset_version() if opset is None else opset
    dtypes = [dtype] * len(inputs) if isinstance(dtype, str) else list(dtype)
    if len(dtypes) != len(inputs):
        raise UsageError(f"{len(inputs)} inputs but {len(dtypes)} dtypes: give one for each")
    calls: list[Call] = []
    rest = list(range(len(inputs)))
    for place, (name, given) in enumerate(zip(ops, each, strict=True)):
        own = rest if place == len(ops) - 1 else rest[: _wanted(name, version, place, len(rest))]
        rest = rest[len(own) :]
        first = [] if not calls else [calls[-1].outputs[0]]
        values = [
            _value(name, slot + len(first), inputs[i], dtypes[i], _constant(constant, i))
            for slot, i in enumerate(own)
        ]
        calls.append(_call(name, given, (*first, *values), version))
    return [step for call in calls for step in unfused(call)]


def _attributes_of_each(
    attributes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, count: int
) -> list[Mapping[str, Any]]:
    if attributes is None:
        return [{} for _ in range(count)]
    each = [attributes] if isinstance(attributes, Mapping) else list(attributes)
    if isinstance(attributes, Mapping) and count > 1:
        each += [{} for _ in range(count - 1)]
    if len(each) != count:
        raise UsageError(f"{count} operators but attributes for {len(each)}: give one for each")
    return each


def _wanted(op: str, opset: int, place: int, available: int) -> int:
    """How many of the remaining inputs an operator within a chain takes: as few as it may."""
    schema = schema_of(op, opset)
    if schema is None:
        return available
    least = int(schema.min_input) if place == 0 else int(schema.min_input) - 1
    # Two inputs at least for operators that need two sides but take any number (Sum, Concat).
    return min(max(least, 0), available)


def _constant(constant: Sequence[bool] | Mapping[int, Any] | None, index: int) -> Any:
    if constant is None:
        return None
    if isinstance(constant, Mapping):
        return constant.get(index)
    return bool(constant[index]) if index < len(constant) else None


def _value(
    op: str, slot: int, shape: Sequence[int] | None, dtype: str, constant: Any
) -> Value | None:
    if shape is None:
        return None
    extents = tuple(int(extent) for extent in shape)
    if any(extent < 0 for extent in extents):
        raise UsageError(f"{op}: input {slot} cannot have the shape {list(extents)}")
    if dtype not in NUMBERS:
        raise UsageError(f"{op}: unknown element type {dtype!r}: write it like 'float32'")
    parameter = slot in _PARAMETERS.get(op, ())
    kind = "int64" if parameter else dtype
    data = None
    if constant is None:
        fixed = parameter or slot in _WEIGHTS.get(op, ())
        # A matrix product with a matrix is a layer; with a stack of them it is attention.
        fixed = fixed or (op == "MatMul" and slot == 1 and len(extents) <= 2)
    elif isinstance(constant, (bool, np.bool_)):
        fixed = bool(constant)
    else:
        fixed = True
        data = np.asarray(constant)
        if data.dtype.kind in "iu":
            data = data.astype(np.int64)
            kind = "int64" if kind.startswith("float") else kind
        elif data.dtype.kind == "f":
            kind = kind if kind in ("float16", "float64") else "float32"
            data = data.astype(kind)
        if data.size != int(np.prod(extents)):
            raise UsageError(f"{op}: input {slot} has {data.size} values, not {list(extents)}")
        data = data.reshape(extents)
    return Value(kind, extents, fixed, data)


def _call(
    op: str, attributes: Mapping[str, Any], values: Sequence[Value | None], opset: int
) -> Call:
    domain, name = split_type(op)
    schema = schema_of(op, opset) if not domain else None
    if not domain and schema is None:
        raise UsageError(f"unknown operator {op!r}: give an ONNX type such as 'Conv'")
    if op in ("LSTM", "GRU", "RNN") and len(values) > 2 and "hidden_size" not in attributes:
        weights = values[2]
        if weights is not None and weights.shape:
            attributes = {**attributes, "hidden_size": weights.shape[-1]}
    names = ["" if value is None else f"i{i}" for i, value in enumerate(values)]
    try:
        node = onnx.helper.make_node(name, names, ["y"], domain=domain, **_plain(attributes))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{op}: an attribute cannot be used: {error}") from error
    if schema is not None:
        unknown = sorted(set(attributes) - set(schema.attributes))
        if unknown:
            raise UsageError(f"{op} has no attribute {unknown[0]!r}")
        count = _parts(attributes, values) if op == "Split" else max(1, int(schema.min_output))
        del node.output[:]
        node.output.extend(f"y{i}" for i in range(count))
    outputs = output_values(node, values, opset)
    if outputs[0].dtype is None or not _channels_fit(op, attributes, values):
        shapes = [None if v is None else list(v.shape or ()) for v in values]
        raise UsageError(f"{op} cannot work on inputs of shapes {shapes} and these attributes")
    call = Call(op, _plain(attributes), tuple(values), tuple(outputs), opset)
    return replace(call, attributes=dict(call.attributes))


def _parts(attributes: Mapping[str, Any], values: Sequence[Value | None]) -> int:
    """How many outputs a Split has."""
    sizes = values[1] if len(values) > 1 else None
    if sizes is not None and sizes.elements:
        return sizes.elements
    given = attributes.get("split")
    return len(given) if given else int(attributes.get("num_outputs", 2))


def _channels_fit(op: str, attributes: Mapping[str, Any], values: Sequence[Value | None]) -> bool:
    """ONNX's inference does not compare a convolution's channels with its weights'."""
    place = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}.get(op)
    if place is None or len(values) <= place:
        return True
    data, weight = values[0], values[place]
    if data is None or weight is None or data.shape is None or weight.shape is None:
        return True
    group = int(attributes.get("group", 1))
    enough = len(data.shape) > 1 and len(weight.shape) > 1
    return (
        enough
        and isinstance(data.shape[1], int)
        and isinstance(weight.shape[1], int)
        and data.shape[1] == weight.shape[1] * group
    )


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples and arrays as lists, numpy scalars as Python's."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, (tuple, np.ndarray)):
            value = np.asarray(value).tolist() if isinstance(value, np.ndarray) else list(value)
        elif isinstance(value, np.generic):
            value = value.item()
        found[name] = value
    return found
