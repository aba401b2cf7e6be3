"""Data that fits each input of a graph, as a JSON description for the program on the device."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from lwprof.profiler.graph.consumers import Use, uses_of
from lwprof.profiler.graph.domains import at_home
from lwprof.profiler.graph.elements import is_floating
from lwprof.profiler.graph.fitting import LENGTH, Below, demand
from lwprof.profiler.graph.folding import Array, fold
from lwprof.profiler.graph.model import Graph, Tensor

_FREE_EXTENT = 3  # of sequence elements, whose shape a file rarely gives
_ITEMS = 3
_SHAPE_LIKE = 6
_EXTENT = 2


def input_specs(graph: Graph, seed: int = 0) -> list[dict[str, Any]]:
    """One description per input, in the graph's order; the same seed gives the same data.

    The data fits what the network does with it: indices lie within the table they look up,
    lengths are full, shapes and axes are consistent, arguments stay where functions are
    finite, and masks let something through.

    Returns:
        ``{"name", "kind": "tensor", "dtype", "shape", "fill": {"kind": …, "seed": …}}``, or
        kind ``sequence`` with ``items``, ``optional`` with ``item``, ``map`` with ``keys``
        and ``values``.
    """
    values = fold(graph.proto.graph, graph.tensors)
    specs = []
    for place, (tensor, value) in enumerate(
        zip(graph.inputs, graph.proto.graph.input, strict=True)
    ):
        uses = uses_of(graph.proto.graph, tensor.name, graph.tensors, values)
        spec = _spec(tensor, value.type, uses, values, seed * 1009 + place)
        specs.append({"name": tensor.name, **spec})
    return specs


def _spec(
    tensor: Tensor, kind: Any, uses: list[Use], values: Mapping[str, Array], seed: int
) -> dict[str, Any]:
    which = kind.WhichOneof("value")
    if which == "optional_type":
        inner = kind.optional_type.elem_type
        return {"kind": "optional", "item": _spec(tensor, inner, uses, values, seed)}
    if which == "sequence_type":
        inner = kind.sequence_type.elem_type
        items = [_spec(tensor, inner, [], values, seed + 31 * i) for i in range(_ITEMS)]
        return {"kind": "sequence", "items": items}
    if which == "map_type":
        return _map_spec(kind.map_type, seed)
    shape = [_FREE_EXTENT if extent is None else extent for extent in _shape(tensor)]
    dtype = tensor.dtype or "float32"
    fill = _fill(tensor.name, dtype, shape, uses, seed)
    return {"kind": "tensor", "dtype": dtype, "shape": shape, "fill": fill}


def _shape(tensor: Tensor) -> tuple[int | None, ...]:
    return (None, None) if tensor.shape is None else tensor.shape


def _map_spec(kind: Any, seed: int) -> dict[str, Any]:
    text_keys = kind.key_type == 8
    inner = kind.value_type.tensor_type.elem_type
    dtype = {1: "float32", 11: "float64", 8: "string"}.get(inner, "int64")
    values = {
        "kind": "tensor", "dtype": dtype, "shape": [_ITEMS], "fill": _plain("", dtype, seed),
    }  # fmt: skip
    keys: list[Any] = [f"key{i}" if text_keys else i for i in range(_ITEMS)]
    return {"kind": "map", "keys": keys, "values": values}


def _fill(name: str, dtype: str, shape: list[int], uses: list[Use], seed: int) -> dict[str, Any]:
    elements = prod(shape)
    if dtype == "string":
        return _strings(elements, seed)
    if is_floating(dtype):
        return _floating(dtype, elements, uses, seed)
    high = None
    low = 0
    for use in uses:
        wanted = demand(use, elements)
        if isinstance(wanted, Below):
            low, high = max(low, wanted.low), min(high or wanted.high, wanted.high)
        elif wanted is not None and (use.direct or elements == 1):
            return _exact(wanted, dtype, elements)
    if high is not None:
        return {"kind": "integers", "low": low, "high": max(high, low + 1), "seed": seed}
    if dtype == "int64" and len(shape) == 1 and 2 <= elements <= _SHAPE_LIKE and _counts(uses):
        return {"kind": "constant", "value": _EXTENT}
    return _plain(name, dtype, seed)


def _counts(uses: list[Use]) -> bool:
    """True when a short list of integers ends in arithmetic on extents, as a shape does."""
    return any(use.type in ("Gather", "Concat", "Range", "Expand", "Mul", "Sub") for use in uses)


def _strings(elements: int, seed: int) -> dict[str, Any]:
    return {"kind": "strings", "values": ["ash"]} if elements == 1 else {
        "kind": "strings", "seed": seed,
    }  # fmt: skip


def _floating(dtype: str, elements: int, uses: list[Use], seed: int) -> dict[str, Any]:
    for use in uses:
        if use.type in ("Resize", "Upsample", "Range"):
            wanted = demand(use, elements)
            if wanted is not None and not isinstance(wanted, Below):
                return _exact([float(value) for value in wanted], dtype, elements)
        bounds = at_home(use.type, use.place) if _keeps_values(use) else None
        if bounds is not None and not dtype.startswith("complex"):
            if bounds[0] == bounds[1]:
                return {"kind": "constant", "value": bounds[0]}
            return {"kind": "uniform", "low": bounds[0], "high": bounds[1], "seed": seed}
        if use.place == 0 and use.type == "Gather" and use.direct:
            break
    return {"kind": "normal", "seed": seed}


def _keeps_values(use: Use) -> bool:
    # A division further down is not worth bending the network's own input for.
    return use.direct


def _exact(values: Any, dtype: str, elements: int) -> dict[str, Any]:
    listed = [bool(v) for v in values] if dtype == "bool" else list(values)
    if listed and len(set(listed)) == 1:
        return {"kind": "constant", "value": listed[0]}
    if len(listed) != elements:
        return {"kind": "constant", "value": listed[0] if listed else 0}
    return {"kind": "values", "values": listed}


def _plain(name: str, dtype: str, seed: int) -> dict[str, Any]:
    """What suits an input whose users demand nothing."""
    if dtype == "string":
        return _strings(0, seed)
    if dtype == "bool":
        return {"kind": "bool", "seed": seed}
    if is_floating(dtype):
        return {"kind": "normal", "seed": seed}
    if "mask" in name.lower():
        return {"kind": "constant", "value": 1}
    if dtype in ("uint8", "int8"):  # pictures, and what quantised networks read
        low = 0 if dtype == "uint8" else -128
        return {"kind": "integers", "low": low, "high": low + 256, "seed": seed}
    return {"kind": "integers", "low": 0, "high": LENGTH, "seed": seed}
