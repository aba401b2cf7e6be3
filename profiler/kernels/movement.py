"""Canonical forms of operators that move data: parameters given as inputs become attributes.

Over the opsets many parameters wandered from attributes to inputs (axes, pads, starts…).
Here they are attributes, resolved against the shapes, in every version, and what the
output's shape already says is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels.values import Call, Value, integers, product, rank

Attributes = dict[str, Any]
Result = tuple[Call, Attributes]


def _keep(call: Call, count: int) -> Call:
    return replace(call, inputs=call.inputs[:count])


def _positive(axis: int, dimensions: int | None) -> int:
    return axis + dimensions if axis < 0 and dimensions is not None else axis


def _parameter(call: Call, place: int, attributes: Attributes, name: str) -> list[int] | None:
    """A list of integers that newer opsets take as an input and older ones as an attribute."""
    given = integers(call.input(place))
    if given is not None:
        return given
    value = attributes.get(name)
    return [value] if isinstance(value, int) else value


def shaped_by_output(call: Call, attributes: Attributes) -> Result:
    """Reshape, Expand, ConstantOfShape, Range …: the output's shape says it all."""
    first = call.output(0)
    if first is None or first.known_shape is None:
        return call, {}
    return _keep(call, _OWN_INPUTS[call.op]), {}


_OWN_INPUTS = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Range": 0, "RandomNormal": 0,
               "RandomUniform": 0, "Cast": 1, "CastLike": 1}  # fmt: skip


def cast(call: Call, attributes: Attributes) -> Result:
    """Cast and CastLike: the output's element type says it all."""
    first = call.output(0)
    if first is None or first.dtype is None:
        return call, attributes
    return replace(_keep(call, 1), op="Cast"), {}


def one_axis(call: Call, attributes: Attributes) -> Result:
    """Concat, Gather, ArgMax …: the axis counted from the front, always present.

    Scatter is the former name of ScatterElements.
    """
    if call.op == "Compress" and "axis" not in call.attributes:
        return call, attributes
    if call.op == "Scatter":
        call = replace(call, op="ScatterElements")
    given = call.attributes.get("axis", _AXIS_DEFAULT.get(call.op, 0))
    # Concat's own rank; for OneHot the axis lies in the output.
    reference = call.output(0) if call.op == "OneHot" else call.input(0)
    return call, {**attributes, "axis": _positive(int(given), rank(reference))}


_AXIS_DEFAULT = {"Flatten": 1, "LayerNormalization": -1, "RMSNormalization": -1, "OneHot": -1,
                 "LpNormalization": -1}  # fmt: skip


def one_hot(call: Call, attributes: Attributes) -> Result:
    """OneHot: depth follows from the output; the two values do not matter."""
    call, attributes = one_axis(call, attributes)
    first, depth = call.output(0), call.input(1)
    if first is not None and first.known_shape is not None and depth is not None:
        call = replace(call, inputs=(call.inputs[0], replace(depth, constant=True, data=None)))
    return call, attributes


def split(call: Call, attributes: Attributes) -> Result:
    """Split: the sizes are those of the outputs."""
    call, attributes = one_axis(call, attributes)
    return _keep(call, 1), {"axis": attributes["axis"]}


def transpose(call: Call, attributes: Attributes) -> Result:
    """Transpose: the permutation is always present."""
    dimensions = rank(call.input(0))
    if "perm" not in attributes and dimensions is not None:
        return call, {"perm": list(range(dimensions))[::-1]}
    return call, attributes


def axes_of_ones(call: Call, attributes: Attributes) -> Result:
    """Squeeze and Unsqueeze: sorted axes of the larger tensor, counted from the front."""
    larger = call.input(0) if call.op == "Squeeze" else call.output(0)
    axes = _parameter(call, 1, attributes, "axes")
    if (
        axes is None
        and call.op == "Squeeze"
        and call.input(1) is None
        and larger is not None
        and larger.known_shape
    ):
        axes = [i for i, extent in enumerate(larger.known_shape) if extent == 1]
    if axes is None:
        return call, attributes
    return _keep(call, 1), {"axes": sorted(_positive(a, rank(larger)) for a in axes)}


def slice_(call: Call, attributes: Attributes) -> Result:
    """Slice: start, end and step of each axis that is really cut, clamped to the extents."""
    data = call.input(0)
    starts = _parameter(call, 1, attributes, "starts")
    ends = _parameter(call, 2, attributes, "ends")
    if data is None or data.known_shape is None or starts is None or ends is None:
        return call, attributes
    extents = data.known_shape
    axes = _parameter(call, 3, attributes, "axes") or list(range(len(starts)))
    steps = _parameter(call, 4, attributes, "steps") or [1] * len(starts)
    cuts = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
        place = _positive(axis, len(extents))
        begin, stop, _ = slice(start, end, step).indices(extents[place])
        if (begin, stop, step) != (0, extents[place], 1):
            cuts.append((place, begin, stop, step))
    cuts.sort()
    names = ("axes", "starts", "ends", "steps")
    return _keep(call, 1), {name: [cut[i] for cut in cuts] for i, name in enumerate(names)}


def pad(call: Call, attributes: Attributes) -> Result:
    """Pad: begin and end of every axis."""
    pads = _parameter(call, 1, attributes, "pads")
    dimensions = rank(call.input(0))
    if pads is None or dimensions is None:
        return call, attributes
    axes = integers(call.input(3)) or list(range(dimensions))
    whole = [0] * (2 * dimensions)
    for i, axis in enumerate(axes):
        place = _positive(axis, dimensions)
        whole[place], whole[place + dimensions] = pads[i], pads[i + len(axes)]
    kept = {"mode": attributes["mode"]} if "mode" in attributes else {}
    return _keep(call, 1), {**kept, "pads": whole}


def tile(call: Call, attributes: Attributes) -> Result:
    """Tile: the repeats."""
    repeats = integers(call.input(1))
    return (call, attributes) if repeats is None else (_keep(call, 1), {"repeats": repeats})


def top_k(call: Call, attributes: Attributes) -> Result:
    """TopK: k and the axis."""
    k = _parameter(call, 1, attributes, "k")
    axis = _positive(int(call.attributes.get("axis", -1)), rank(call.input(0)))
    kept: Attributes = {n: attributes[n] for n in ("largest", "sorted") if n in attributes}
    if k is None:
        return call, {**kept, "axis": axis}
    return _keep(call, 1), {**kept, "axis": axis, "k": k[0]}


def scalar_parameter(call: Call, attributes: Attributes) -> Result:
    """CumSum (axis) and Trilu (k): one integer that is an input."""
    name, default = {"CumSum": ("axis", None), "Trilu": ("k", 0)}[call.op]
    given = integers(call.input(1))
    if given is None and call.input(1) is not None:
        return call, attributes
    value = given[0] if given else default
    if value is None:
        return call, attributes
    if name == "axis":
        value = _positive(value, rank(call.input(0)))
    return _keep(call, 1), {**attributes, name: value}


def resize(call: Call, attributes: Attributes) -> Result:
    """Resize and Upsample: the mode; the output's extents say how far.

    The two older spellings (Upsample, and Resize before opset 11) are written as
    today's Resize with asymmetric coordinates, which is what they mean.
    """
    first = call.output(0)
    if first is None or first.known_shape is None:
        return call, attributes
    kept: Attributes = {
        name: attributes[name]
        for name in ("mode", "coordinate_transformation_mode", "nearest_mode",
                     "exclude_outside", "antialias")
        if name in attributes
    }  # fmt: skip
    if call.op == "Upsample" or call.opset < 11:
        kept["coordinate_transformation_mode"] = "asymmetric"
        kept["nearest_mode"] = "floor"
    if kept.get("mode", "nearest") != "nearest":
        kept.pop("nearest_mode", None)
    if kept.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return call, {**attributes, **kept}
    return replace(_keep(call, 1), op="Resize"), kept


def flattened(call: Call, attributes: Attributes) -> Result:
    """Softmax, LogSoftmax, Hardmax: the axis from the front.

    Before opset 13 they work on a matrix, everything before the axis by everything from
    it on. Where that is not the last axis, the description says so by giving the matrix.
    """
    old = call.opset < 13
    dimensions = rank(call.input(0))
    axis = _positive(int(call.attributes.get("axis", 1 if old else -1)), dimensions)
    data, result = call.input(0), call.output(0)
    if not old or data is None or data.known_shape is None or axis >= len(data.known_shape) - 1:
        return call, {"axis": axis}
    shape = data.known_shape
    matrix = (product(shape[:axis]), product(shape[axis:]))
    outputs: tuple[Value | None, ...] = (None if result is None else replace(result, shape=matrix),)
    return replace(call, inputs=(replace(data, shape=matrix),), outputs=outputs), {"axis": 1}


def quantised_softmax(call: Call, attributes: Attributes) -> Result:
    """QLinearSoftmax: which of Softmax's two meanings it has is an attribute of its own."""
    axis = _positive(int(call.attributes.get("axis", -1)), rank(call.input(0)))
    meaning = 13 if int(attributes.get("opset", 13)) >= 13 else 1
    return call, {"axis": axis, "opset": meaning}


def reorder(call: Call, attributes: Attributes) -> Result:
    """ReorderInput and ReorderOutput: the logical extents, whatever the padding."""
    first, result = call.input(0), call.output(0)
    last = {"channels_last": 1} if attributes.get("channels_last") else {}
    inner = first if call.op == "ReorderOutput" else result
    if first is None or result is None or inner is None or inner.shape is None:
        return call, last
    shape = inner.shape
    if attributes.get("channels") and len(shape) > 1:
        shape = (shape[0], attributes["channels"], *shape[2:])
    inputs, outputs = (replace(first, shape=shape),), (replace(result, shape=shape),)
    return replace(call, inputs=inputs, outputs=outputs), last


RULES: dict[str, Callable[[Call, Attributes], Result]] = {
    **dict.fromkeys(("Reshape", "Expand", "ConstantOfShape", "Range"), shaped_by_output),
    **dict.fromkeys(("RandomNormal", "RandomUniform"), shaped_by_output),
    **dict.fromkeys(("Cast", "CastLike"), cast),
    **dict.fromkeys(
        ("Concat", "Gather", "GatherElements", "Scatter", "ScatterElements", "ArgMax", "ArgMin",
         "Flatten", "LayerNormalization", "RMSNormalization", "LpNormalization", "Compress",
         "ConcatFromSequence"),
        one_axis,
    ),
    **dict.fromkeys(("ReorderInput", "ReorderOutput"), reorder),
    "com.microsoft.QLinearSoftmax": quantised_softmax,
    "OneHot": one_hot,
    "Split": split,
    "Transpose": transpose,
    **dict.fromkeys(("Squeeze", "Unsqueeze"), axes_of_ones),
    "Slice": slice_,
    "Pad": pad,
    "Tile": tile,
    "TopK": top_k,
    **dict.fromkeys(("CumSum", "Trilu"), scalar_parameter),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), flattened),
}  # fmt: skip
