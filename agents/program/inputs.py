"""Data for a model's inputs, made from the host's descriptions.

A description is JSON (see ``build``). The same description and seed give the same
data anywhere. Values never are denormal: those slow some processors a hundredfold,
and would time the data instead of the network.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy

from . import checks

# Element types that numpy knows under its own name.
_NUMPY = (
    "float16", "float32", "float64", "complex64", "complex128", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip

# Types that numpy lacks, by the numbers of ONNX's TensorProto.DataType, with the bits
# that one element takes and the mask that keeps random patterns finite and normal.
_BITS = {
    "bfloat16": (16, 16, 0xBFFF), "float8e4m3fn": (17, 8, 0xBF), "float8e4m3fnuz": (18, 8, 0x7F),
    "float8e5m2": (19, 8, 0xBF), "float8e5m2fnuz": (20, 8, 0x7F), "uint4": (21, 4, 0xFF),
    "int4": (22, 4, 0xFF), "float4e2m1": (23, 4, 0xFF), "float8e8m0": (24, 8, 0x7F),
    "uint2": (25, 2, 0xFF), "int2": (26, 2, 0xFF),
}  # fmt: skip

_MAX_BYTES = 8 * 1024**3
_WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine")


class Patterns:
    """A tensor of a type that numpy lacks, as bit patterns.

    Attributes:
        onnx_type: number of the element type in ONNX.
        array: uint16 or uint8 of the tensor's shape. Types below eight bits are packed
            from the front; the rest of the array is padding.
    """

    def __init__(self, onnx_type: int, array: Any) -> None:
        self.onnx_type = onnx_type
        self.array = array


def build(specs: Any) -> Dict[str, Any]:
    """Data for every input, by its name.

    Args:
        specs: list of ``{"name", "kind", …}``. kind ``tensor``: ``dtype``, ``shape``
            and ``fill``; ``sequence``: ``items``, a list of descriptions; ``optional``:
            ``item``, a description or null; ``map``: ``keys`` (list) and ``values``
            (a description of as many values). A fill is ``{"kind": "normal" |
            "uniform" | "integers" | "bool" | "constant" | "values" | "strings", "seed",
            "low", "high" (exclusive), "value", "values", "mean", "std"}``.

    Returns:
        numpy arrays, ``Patterns``, lists, dicts or None.

    Raises:
        Failure: kind ``request``; the description is malformed or asks for too much.
    """
    feeds = {}
    for spec in checks.items(specs, "inputs", 4096):
        name = checks.text(checks.mapping(spec, "input").get("name"), "input name")
        feeds[name] = value(spec, "input %r" % name)
    return feeds


def value(spec: Any, what: str) -> Any:
    """The value that one description asks for."""
    spec = checks.mapping(spec, what)
    kind = checks.choice(
        spec.get("kind", "tensor"),
        "%s kind" % what,
        ("tensor", "sequence", "optional", "map"),
    )
    if kind == "sequence":
        return [value(item, what) for item in checks.items(spec.get("items"), what, 4096)]
    if kind == "optional":
        return None if spec.get("item") is None else value(spec["item"], what)
    if kind == "map":
        keys = checks.items(spec.get("keys"), "%s keys" % what)
        values = value(spec.get("values"), what)
        entries = values.tolist() if hasattr(values, "tolist") else values
        return dict(zip(keys, entries))
    return _tensor(spec, what)


def _tensor(spec: Dict[str, Any], what: str) -> Any:
    dtype = checks.text(spec.get("dtype"), "%s dtype" % what, 32)
    shape = tuple(checks.integers(spec.get("shape"), "%s shape" % what, 0, 2**40, 64))
    fill = checks.mapping(spec.get("fill", {"kind": "normal"}), "%s fill" % what)
    elements = 1
    for extent in shape:
        elements *= extent
    if elements * 16 > _MAX_BYTES:
        raise checks.refuse("%s asks for %d elements, too many to make" % (what, elements))
    seed = checks.integer(fill.get("seed", 0), "%s seed" % what, 0, 2**63)
    random = numpy.random.default_rng(seed)
    if dtype == "string":
        return _strings(random, fill, shape, what)
    if dtype in _BITS:
        return _patterns(random, fill, dtype, shape)
    if dtype not in _NUMPY:
        raise checks.refuse("%s has element type %r, which cannot be made here" % (what, dtype))
    kind = checks.choice(fill.get("kind", "normal"), "%s fill" % what, tuple(_FILLS))
    array = numpy.asarray(_FILLS[kind](random, fill, shape, dtype, what))
    return _normal_numbers(_cast(array, dtype, shape, what))


def _cast(array: Any, dtype: str, shape: Tuple[int, ...], what: str) -> Any:
    if array.size == 1 and shape != array.shape:
        array = numpy.full(shape, array.reshape(-1)[0])
    try:
        with numpy.errstate(all="ignore"):
            return numpy.ascontiguousarray(array.astype(dtype)).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise checks.refuse("%s cannot be filled as asked: %s" % (what, error)) from None


def _normal_numbers(array: Any) -> Any:
    """``array`` with denormals (real and imaginary parts alike) set to zero."""
    if array.dtype.kind in "fc":
        parts = array.reshape(-1).view(array.real.dtype)  # a view, of 0-d arrays too
        parts[numpy.abs(parts) < numpy.finfo(parts.dtype).tiny] = 0
    return array


def _bounds(fill: Dict[str, Any], what: str, low: float, high: float) -> Tuple[float, float]:
    first = checks.number(fill.get("low", low), "%s low" % what, -1e300, 1e300)
    last = checks.number(fill.get("high", high), "%s high" % what, -1e300, 1e300)
    if last < first:
        raise checks.refuse("%s has low %g above high %g" % (what, first, last))
    return first, last


def _normal(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    mean = checks.number(fill.get("mean", 0.0), "%s mean" % what, -1e300, 1e300)
    std = checks.number(fill.get("std", 1.0), "%s std" % what, 0, 1e300)
    wide = numpy.float64 if dtype in ("float64", "complex128") else numpy.float32
    values = random.standard_normal(shape, dtype=wide)
    if dtype.startswith("complex"):
        values = values + 1j * random.standard_normal(shape, dtype=wide)
    return values if (mean, std) == (0.0, 1.0) else values * std + mean


def _uniform(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    low, high = _bounds(fill, what, 0.0, 1.0)
    return random.uniform(low, high, shape)


def _integers(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    low, high = _bounds(fill, what, 0, 2)
    kind = numpy.uint64 if dtype == "uint64" else numpy.int64
    limits = numpy.iinfo(dtype if dtype.startswith(("int", "uint")) else kind)
    first, last = max(int(low), int(limits.min)), min(int(high), int(limits.max) + 1)
    if kind is numpy.int64:
        last = min(last, 2**63)
    return random.integers(first, max(last, first + 1), size=shape, dtype=kind)


def _bool(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    share = checks.number(fill.get("probability", 0.5), "%s probability" % what, 0, 1)
    return random.random(shape) < share


def _constant(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    single = fill.get("value", 0)
    if type(single) is not bool:
        single = _exact(single, what)
    return numpy.full(shape, single)


def _values(random: Any, fill: Dict[str, Any], shape: Any, dtype: str, what: str) -> Any:
    values = checks.items(fill.get("values"), "%s values" % what, 10**7)
    return numpy.array([v if type(v) is bool else _exact(v, what) for v in values])


def _exact(single: Any, what: str) -> Any:
    # Whole numbers stay whole: 2**63 - 1 is no float.
    if type(single) is int:
        return checks.integer(single, "%s value" % what, -(2**63), 2**64 - 1)
    return checks.number(single, "%s value" % what, -1.8e308, 1.8e308)


_FILLS: Dict[str, Callable[..., Any]] = {
    "normal": _normal,
    "uniform": _uniform,
    "integers": _integers,
    "bool": _bool,
    "constant": _constant,
    "values": _values,
}


def _strings(random: Any, fill: Dict[str, Any], shape: Any, what: str) -> Any:
    values: Optional[List[Any]] = fill.get("values")
    if values is None and "value" in fill:
        values = [fill["value"]]
    if values is None:
        chosen = random.integers(0, len(_WORDS), size=shape)
        return numpy.array(_WORDS, dtype=object)[numpy.reshape(chosen, -1)].reshape(shape)
    words = [checks.text(v, "%s value" % what) for v in checks.items(values, what)]
    array = numpy.array(words, dtype=object)
    return _cast(array, "object", shape, what)


def _patterns(random: Any, fill: Dict[str, Any], dtype: str, shape: Tuple[int, ...]) -> Patterns:
    number, bits, mask = _BITS[dtype]
    kind = numpy.uint16 if bits == 16 else numpy.uint8
    if bits == 16 and fill.get("kind") != "integers":
        # The upper half of a float32 is the bfloat16 that it truncates to.
        wide = random.standard_normal(shape, dtype=numpy.float32)
        array = (numpy.ascontiguousarray(wide).view(numpy.uint32) >> 16).astype(kind)
        return Patterns(number, numpy.asarray(array).reshape(shape))
    array = random.integers(0, 2 ** min(16, max(8, bits)), size=shape, dtype=kind)
    return Patterns(number, numpy.asarray(array & kind(mask)).reshape(shape))
