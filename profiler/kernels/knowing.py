"""Small integer tensors that are known although a runtime computes them: shapes and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.profiler.kernels.values import Call, Value

Array = np.ndarray[Any, Any]
_MAX_ELEMENTS = 64


def known_output(call: Call) -> Array | None:
    """Elements of the only output of ``call`` where they follow from what is known, else None.

    Covers what functions and exporters build shapes with; gives up on everything else.
    """
    rule = _RULES.get(call.op)
    if rule is None or not call.inputs:
        return None
    try:
        found = rule(call)
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        return None
    if found is None or found.size > _MAX_ELEMENTS or found.dtype.kind not in "iub":
        return None
    return found


def _shape(call: Call) -> Array | None:
    data = call.input(0)
    if data is None or data.known_shape is None:
        return None
    start, end = call.attributes.get("start", 0), call.attributes.get("end")
    return np.array(data.known_shape[slice(start, end)], dtype=np.int64)


def _size(call: Call) -> Array | None:
    data = call.input(0)
    return None if data is None or data.elements is None else np.array(data.elements)


def _data(value: Value | None) -> Array:
    if value is None or value.data is None:
        raise ValueError("not known")
    return value.data


def _squeezed(call: Call) -> Array:
    data = _data(call.input(0))
    axes = call.attributes.get("axes")
    if call.input(1) is not None:
        axes = _data(call.input(1)).tolist()
    return np.squeeze(data, None if axes is None else tuple(axes))


def _unsqueezed(call: Call) -> Array:
    axes = call.attributes.get("axes") or _data(call.input(1)).tolist()
    return np.expand_dims(_data(call.input(0)), tuple(axes))


def _concatenated(call: Call) -> Array:
    return np.concatenate([_data(v) for v in call.inputs], axis=call.attributes["axis"])


def _gathered(call: Call) -> Array:
    return np.take(_data(call.input(0)), _data(call.input(1)), axis=call.attributes.get("axis", 0))


def _sliced(call: Call) -> Array:
    data = _data(call.input(0))
    if data.ndim != 1 or call.input(1) is None:
        raise ValueError("not a list")
    start, end = int(_data(call.input(1))[0]), int(_data(call.input(2))[0])
    step = int(_data(call.input(4))[0]) if call.input(4) is not None else 1
    return data[slice(start, end, step)]


def _cast(call: Call) -> Array:
    result = call.output(0)
    if result is None or result.dtype not in ("int32", "int64", "bool"):
        raise ValueError("not integers")
    return _data(call.input(0)).astype(result.dtype)


def _reshaped(call: Call) -> Array:
    return _data(call.input(0)).reshape(_data(call.input(1)).tolist())


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Call], Array]:
    return lambda call: function(_data(call.input(0)), _data(call.input(1)))


_RULES: dict[str, Callable[[Call], Array | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": lambda call: _data(call.input(0)),
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Concat": _concatenated,
    "Gather": _gathered,
    "Slice": _sliced,
    "Cast": _cast,
    "Reshape": _reshaped,
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(np.floor_divide),
    "Mod": _binary(np.mod),
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
}
