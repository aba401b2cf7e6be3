"""Attributes of a call as they enter a description: JSON values without what does not matter."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import onnx

from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.kernels.schemas import defaults_of
from lwprof.profiler.kernels.values import Call, split_type

# Lists up to these lengths are kept whole; longer ones are weights or tables.
_MAX_FLOATS = 16
_MAX_INTS = 64
_MAX_STRINGS = 16

# Names and hints that never change the work.
_IRRELEVANT = frozenset(
    {"seed", "consumed_inputs", "is_test", "saturate", "stash_type", "output_dtype", "precision",
     "doc_string", "name"}
)  # fmt: skip

# Operators outside ai.onnx have no schema here; these integers default to 0 in all of them.
_ZERO_BY_DEFAULT = frozenset(
    {"channels_last", "transA", "transB", "transBatchA", "transBatchB", "unidirectional",
     "do_rotary", "ceil_mode", "count_include_pad", "past_present_share_buffer",
     "accuracy_level", "is_causal"}
)  # fmt: skip


def cleaned(call: Call) -> dict[str, Any]:
    """The attributes of ``call`` that can change its work, JSON-able.

    Left out: scalars of type float (slopes, epsilons, bounds: the arithmetic is the same
    whatever their value), defaults, and names. Defaults are left out rather than filled
    in, so that an attribute which a later opset adds does not change the key.
    """
    defaults = defaults_of(call.op, _domain_opset(call))
    foreign = split_type(call.op)[0] not in ("", "ai.onnx.ml")
    found: dict[str, Any] = {}
    for name, value in call.attributes.items():
        if name in _IRRELEVANT or isinstance(value, float):
            continue
        if name in defaults and defaults[name] == value:
            continue
        if foreign and name in _ZERO_BY_DEFAULT and value == 0:
            continue
        found[name] = encode(value)
    return found


def _domain_opset(call: Call) -> int:
    return onnx.defs.onnx_opset_version() if split_type(call.op)[0] else call.opset


def encode(value: Any) -> Any:
    """One attribute value as JSON: numbers, text, lists, ``{"tensor": …}``, digests of tables."""
    if isinstance(value, (bool, int, np.integer)):
        return int(value)
    if isinstance(value, (str, dict)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return _encode_list(list(value))
    if isinstance(value, onnx.TensorProto):
        return {"tensor": encode_tensor(value)}
    return {"unsupported": type(value).__name__}


def _encode_list(values: list[Any]) -> Any:
    if all(isinstance(v, (bool, int, np.integer)) for v in values):
        numbers = [int(v) for v in values]
        return numbers if len(numbers) <= _MAX_INTS else {"ints": len(numbers), **_digest(numbers)}
    if all(isinstance(v, (int, float, np.floating)) for v in values):
        short = len(values) <= _MAX_FLOATS
        return [float(v) for v in values] if short else {"floats": len(values)}
    if all(isinstance(v, (str, bytes)) for v in values):
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
        return texts if len(texts) <= _MAX_STRINGS else {"strings": len(texts)}
    return {"unsupported": type(values[0]).__name__}


def _digest(values: list[int]) -> dict[str, str]:
    return {"sha256": hashlib.sha256(json.dumps(values).encode()).hexdigest()}


def encode_tensor(tensor: Any) -> dict[str, Any]:
    """Type and shape of a ``TensorProto``; the values too where they are few and integers."""
    found: dict[str, Any] = {
        "dtype": NAMES.get(tensor.data_type) or "unknown",
        "shape": [int(extent) for extent in tensor.dims],
    }
    values = small_values(tensor)
    if values is not None and values.dtype.kind in "iub":
        found["values"] = [int(v) for v in values.reshape(-1)]
    return found


def small_values(tensor: Any, limit: int = _MAX_INTS) -> np.ndarray[Any, Any] | None:
    """The elements of a small stored tensor; None if it is large or not plain numbers.

    Never touches the data of a large tensor, which is what keeps extraction fast.
    """
    count = 1
    for extent in tensor.dims:
        count *= extent
    if count > limit or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):  # malformed or exotic
        return None
    return values if values.dtype.kind in "fiub" else None
