"""Small values that shapes depend on, computed without a runtime.

Exporters write ``Reshape`` and ``Resize`` targets as little programs: Shape, Gather, Cast,
Div, Floor, Concat … ONNX's own data propagation follows only some of them. Here every value
of at most 4096 elements that follows from constants and known shapes is computed with
numpy. Nothing large is ever evaluated, so a hostile model cannot make this expensive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.graph.model import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

LIMIT = 4096
_MAX_FLOATS = 16
_FLOATING = frozenset(NUMBERS[name] for name in ("float32", "float64", "float16"))
_NUMERIC = _FLOATING | {
    NUMBERS[name]
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
_MAX_RANK = 16


class _TooLarge(Exception):
    """The value would exceed the limit; it stays unknown."""


def small_value(tensor: Any) -> Array | None:
    """A stored tensor as an array, when it is small and numeric.

    Floating-point values decide shapes only as a few scales or sizes; longer ones are weights.
    """
    size = prod(tensor.dims)
    if size > LIMIT or tensor.data_type not in _NUMERIC:
        return None
    if size > _MAX_FLOATS and tensor.data_type in _FLOATING:
        return None
    value: Array = numpy_helper.to_array(tensor)
    return value


def fold(graph: Any, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Every small value of a graph that is known before its inputs are.

    Args:
        graph: an inferred graph in topological order.
        tensors: its values' types and shapes.

    Returns:
        name → value.
    """
    known: dict[str, Array] = {}
    for tensor in graph.initializer:
        value = small_value(tensor)
        if value is not None:
            known[tensor.name] = value
    with np.errstate(all="ignore"):
        for node in graph.node:
            result = _evaluate(node, known, tensors)
            if result is not None:
                known.update(zip(node.output, result, strict=False))
    known.pop("", None)
    return known


def _evaluate(
    node: Any, known: Mapping[str, Array], tensors: Mapping[str, Tensor]
) -> list[Array] | None:
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type in ("Shape", "Size"):
        return _of_shape(node, tensors)
    formula = _FORMULAS.get(node.op_type)
    if formula is None or any(name and name not in known for name in node.input):
        return None
    inputs = [known[name] if name else None for name in node.input]
    try:
        result = formula(inputs, attributes_of(node))
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        arrays = [np.asarray(value) for value in outputs]
    except (_TooLarge, ArithmeticError, LookupError, TypeError, ValueError, MemoryError):
        return None  # stays unknown; the checker or the runtime will say what is wrong
    return arrays if all(value.size <= LIMIT for value in arrays) else None


def _of_shape(node: Any, tensors: Mapping[str, Tensor]) -> list[Array] | None:
    tensor = tensors.get(node.input[0])
    if tensor is None or tensor.shape is None or tensor.kind != "tensor":
        return None
    if node.op_type == "Size":
        return None if tensor.elements is None else [np.asarray(tensor.elements, np.int64)]
    attributes = attributes_of(node)
    extents = tensor.shape[slice(attributes.get("start", 0), attributes.get("end"))]
    known = [extent for extent in extents if extent is not None]
    return [np.asarray(known, np.int64)] if len(known) == len(extents) else None


def _bounded(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The broadcast of ``shapes``, refused before anything of that size is made."""
    shape: tuple[int, ...] = np.broadcast_shapes(*shapes)
    if len(shape) > _MAX_RANK or prod(shape) > LIMIT:
        raise _TooLarge
    return shape


def _elementwise(function: Callable[..., Any]) -> Callable[[list[Any], Any], Any]:
    def apply(inputs: list[Any], attributes: Any) -> Any:
        _bounded(*(value.shape for value in inputs))
        return function(*inputs)

    return apply


def _folded(function: Callable[[Any, Any], Any]) -> Callable[[list[Any], Any], Any]:
    def apply(inputs: list[Any], attributes: Any) -> Any:
        _bounded(*(value.shape for value in inputs))
        total = inputs[0]
        for value in inputs[1:]:
            total = function(total, value)
        return total

    return apply


def _div(a: Any, b: Any) -> Any:
    if not np.issubdtype(a.dtype, np.integer):
        return a / b
    if np.any(b == 0):
        raise ZeroDivisionError
    quotient = np.abs(a) // np.abs(b)  # ONNX truncates towards zero
    return (np.sign(a) * np.sign(b) * quotient).astype(a.dtype)


def _cast(inputs: list[Any], attributes: Any) -> Any:
    kind = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    if kind.kind not in "biuf":
        raise _TooLarge
    return inputs[0].astype(kind)


def _reshape(inputs: list[Any], attributes: Any) -> Any:
    data, target = inputs
    extents = [
        data.shape[place] if extent == 0 and not attributes.get("allowzero") else int(extent)
        for place, extent in enumerate(target)
    ]
    return data.reshape(extents)


def _axes(inputs: list[Any], attributes: Any) -> tuple[int, ...] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(axis) for axis in inputs[1].reshape(-1))
    axes = attributes.get("axes")
    return None if axes is None else tuple(axes)


def _unsqueeze(inputs: list[Any], attributes: Any) -> Any:
    axes = _axes(inputs, attributes) or ()
    if inputs[0].ndim + len(axes) > _MAX_RANK:
        raise _TooLarge
    return np.expand_dims(inputs[0], axes)


def _slice(inputs: list[Any], attributes: Any) -> Any:
    data = inputs[0]
    if len(inputs) == 1:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = inputs[1].tolist(), inputs[2].tolist()
        axes = inputs[3].tolist() if _given(inputs, 3) else range(len(starts))
        steps = inputs[4].tolist() if _given(inputs, 4) else [1] * len(starts)
    cut: list[slice] = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        extent = data.shape[axis]
        # A backward slice to before the first element has no finite numpy end.
        stop = None if step < 0 and end < -extent else end
        cut[axis] = slice(start, stop, step)
    return data[tuple(cut)]


def _given(inputs: list[Any], place: int) -> bool:
    return len(inputs) > place and inputs[place] is not None


def _reduce(function: Callable[..., Any]) -> Callable[[list[Any], Any], Any]:
    def apply(inputs: list[Any], attributes: Any) -> Any:
        axes = _axes(inputs, attributes)
        if axes == () and attributes.get("noop_with_empty_axes"):
            return inputs[0]
        keep = bool(attributes.get("keepdims", 1))
        return function(inputs[0], axis=axes or None, keepdims=keep).astype(inputs[0].dtype)

    return apply


def _range(inputs: list[Any], attributes: Any) -> Any:
    start, limit, delta = (value.item() for value in inputs)
    if delta == 0 or (limit - start) / delta > LIMIT:
        raise _TooLarge
    return np.arange(start, limit, delta, dtype=inputs[0].dtype)


def _constant(inputs: list[Any], attributes: Any) -> Any:
    if "value" in attributes:
        value = small_value(attributes["value"])
        if value is None:
            raise _TooLarge
        return value
    for name, kind in (("value_int", np.int64), ("value_ints", np.int64),
                       ("value_float", np.float32), ("value_floats", np.float32)):  # fmt: skip
        if name in attributes:
            return np.asarray(attributes[name], kind)
    raise KeyError("value")


def _constant_of_shape(inputs: list[Any], attributes: Any) -> Any:
    fill = attributes.get("value")
    value = np.zeros(1, np.float32) if fill is None else small_value(fill)
    if value is None:
        raise _TooLarge
    return np.full(_bounded(tuple(inputs[0].tolist())), value.reshape(-1)[0])


def _expand(inputs: list[Any], attributes: Any) -> Any:
    shape = _bounded(inputs[0].shape, tuple(inputs[1].tolist()))
    return np.broadcast_to(inputs[0], shape).copy()


def _tile(inputs: list[Any], attributes: Any) -> Any:
    repeats = inputs[1].tolist()
    _bounded(tuple(a * b for a, b in zip(inputs[0].shape, repeats, strict=True)))
    return np.tile(inputs[0], repeats)


def _where(inputs: list[Any], attributes: Any) -> Any:
    _bounded(*(value.shape for value in inputs))
    return np.where(*inputs)


def _gather(inputs: list[Any], attributes: Any) -> Any:
    data, indices = inputs
    axis = attributes.get("axis", 0)
    if data.size // max(data.shape[axis], 1) * indices.size > LIMIT:
        raise _TooLarge
    return np.take(data, indices, axis=axis)


def _split(inputs: list[Any], attributes: Any) -> Any:
    sizes = inputs[1].tolist() if _given(inputs, 1) else attributes["split"]
    return np.split(inputs[0], np.cumsum(sizes)[:-1], axis=attributes.get("axis", 0))


_FORMULAS: Mapping[str, Callable[[list[Any], Any], Any]] = {
    "Constant": _constant, "ConstantOfShape": _constant_of_shape,
    "Identity": lambda i, a: i[0], "Cast": _cast, "Reshape": _reshape,
    "Unsqueeze": _unsqueeze, "Slice": _slice, "Gather": _gather, "Split": _split,
    "Squeeze": lambda i, a: np.squeeze(i[0], _axes(i, a)),
    "Concat": lambda i, a: np.concatenate(i, axis=a["axis"]),
    "Transpose": lambda i, a: np.transpose(i[0], a.get("perm")),
    "Flatten": lambda i, a: i[0].reshape(prod(i[0].shape[: a.get("axis", 1)]), -1),
    "Expand": _expand, "Tile": _tile, "Range": _range, "Where": _where,
    "Add": _elementwise(np.add), "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply), "Div": _elementwise(_div),
    "Mod": lambda i, a: (np.fmod if a.get("fmod") else np.mod)(*i),
    "Pow": _elementwise(lambda a, b: np.power(a.astype(np.float64), b).astype(a.dtype)),
    "Neg": _elementwise(np.negative), "Abs": _elementwise(np.abs),
    "Floor": _elementwise(np.floor), "Ceil": _elementwise(np.ceil),
    "Round": _elementwise(np.round), "Sqrt": _elementwise(np.sqrt),
    "Reciprocal": _elementwise(np.reciprocal), "Sign": _elementwise(np.sign),
    "Min": _folded(np.minimum), "Max": _folded(np.maximum), "Sum": _folded(np.add),
    "Equal": _elementwise(np.equal), "Greater": _elementwise(np.greater),
    "Less": _elementwise(np.less), "GreaterOrEqual": _elementwise(np.greater_equal),
    "LessOrEqual": _elementwise(np.less_equal), "Not": _elementwise(np.logical_not),
    "And": _elementwise(np.logical_and), "Or": _elementwise(np.logical_or),
    "Xor": _elementwise(np.logical_xor),
    "ReduceProd": _reduce(np.prod), "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max), "ReduceMin": _reduce(np.min), "ReduceMean": _reduce(np.mean),
    "NonZero": lambda i, a: np.asarray(np.nonzero(np.atleast_1d(i[0])), np.int64),
}  # fmt: skip
