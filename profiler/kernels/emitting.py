"""From a canonical operator back to an ONNX node: parameters become inputs again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.kernels.values import product

# An input is a name, "" where left out, or an array that becomes an initialiser.
Input = str | np.ndarray[Any, Any]
Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """One operator of a description, about to be written.

    Attributes:
        op: type as in the description.
        attributes: as in the description.
        inputs: names, "" where left out.
        input_specs: type and shape of each input, None where left out.
        output_specs: type and shape of each output, None where unknown.
        opset: of the model that is being written.
        random: elements for a constant of this operator: (slot, dtype, shape) → array.
    """

    op: str
    attributes: dict[str, Any]
    inputs: list[Input]
    input_specs: list[Spec | None]
    output_specs: list[Spec | None]
    opset: int
    random: Callable[[int, str, tuple[int, ...]], np.ndarray[Any, Any]]

    def output_shape(self) -> list[int]:
        """Extents of the first output."""
        spec = self.output_specs[0]
        if spec is None or spec["shape"] is None:
            raise ModelError(f"the shape of {self.op}'s output is unknown: it cannot be cut out")
        return list(spec["shape"])

    def output_dtype(self) -> str:
        """Element type of the first output."""
        spec = self.output_specs[0]
        if spec is None or spec["dtype"] is None:
            raise ModelError(f"the type of {self.op}'s output is unknown: it cannot be cut out")
        return str(spec["dtype"])

    def shape(self, slot: int) -> list[int]:
        """Extents of an input."""
        spec = self.input_specs[slot]
        if spec is None or spec["shape"] is None:
            raise ModelError(f"the shape of {self.op}'s input is unknown: it cannot be cut out")
        return list(spec["shape"])


Written = tuple[dict[str, Any], list[Input]]


def written(site: Site) -> Written:
    """Attributes and inputs of the ONNX node that a canonical operator stands for."""
    rule = _RULES.get(site.op)
    return (site.attributes, site.inputs) if rule is None else rule(site)


def parameters_of(op: str) -> frozenset[str]:
    """Attributes of a canonical operator that are inputs when it is written."""
    return _PARAMETERS.get(op, frozenset())


def _ints(values: list[int]) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.int64)


def _biased(site: Site) -> Written:
    """With the bias that nearly every convolution has in a network."""
    if len(site.inputs) != 2:
        return site.attributes, site.inputs
    dtype = site.output_dtype()
    bias = site.random(2, dtype, (site.output_shape()[1],))
    return site.attributes, [*site.inputs, bias]


def _quantised_biased(site: Site) -> Written:
    if len(site.inputs) != 8:
        return site.attributes, site.inputs
    return site.attributes, [*site.inputs, np.zeros(site.output_shape()[1], np.int32)]


def _gemm(site: Site) -> Written:
    if len(site.inputs) != 2 or site.output_dtype() not in ("float32", "float64", "float16"):
        return site.attributes, site.inputs
    row = site.random(2, site.output_dtype(), (site.output_shape()[1],))
    return site.attributes, [*site.inputs, row]


def _shaped(site: Site) -> Written:
    if len(site.inputs) > 1:
        return site.attributes, site.inputs
    shape = site.output_shape()
    attributes = {"allowzero": 1} if site.op == "Reshape" and 0 in shape else {}
    return attributes, [*site.inputs, _ints(shape)]


def _constant_of_shape(site: Site) -> Written:
    from onnx import helper, numpy_helper

    kind = helper.tensor_dtype_to_np_dtype(NUMBERS[site.output_dtype()])
    value = numpy_helper.from_array(np.ones(1).astype(kind))
    return {"value": value}, site.inputs or [_ints(site.output_shape())]


def _range(site: Site) -> Written:
    if site.inputs:
        return site.attributes, site.inputs
    kind = np.dtype(site.output_dtype())
    limits = (0, site.output_shape()[0], 1)
    return {}, [np.array(limit, dtype=kind) for limit in limits]


def _random(site: Site) -> Written:
    return {"shape": site.output_shape(), "dtype": NUMBERS[site.output_dtype()]}, []


def _cast(site: Site) -> Written:
    return {"to": NUMBERS[site.output_dtype()]}, site.inputs


def _axes_input(site: Site) -> Written:
    attributes = dict(site.attributes)
    axes = attributes.pop("axes", None)
    return attributes, site.inputs if axes is None else [*site.inputs, _ints(axes)]


def _reduction(site: Site) -> Written:
    attributes = dict(site.attributes)
    axes = attributes.pop("axes", None)
    if axes is None:
        return attributes, site.inputs
    if not axes:
        attributes["noop_with_empty_axes"] = 1
    if site.op == "ReduceSum" or site.opset >= 18:
        return attributes, [*site.inputs, _ints(axes)]
    return {**attributes, **({"axes": axes} if axes else {})}, site.inputs


def _split(site: Site) -> Written:
    axis = site.attributes["axis"]
    if len(site.inputs) > 1:
        return site.attributes, site.inputs
    shapes = [None if spec is None else spec["shape"] for spec in site.output_specs]
    if any(shape is None for shape in shapes):
        raise ModelError("the parts of a Split are unknown: it cannot be cut out")
    return {"axis": axis}, [*site.inputs, _ints([s[axis] for s in shapes if s is not None])]


def _slice(site: Site) -> Written:
    if len(site.inputs) > 1 or "starts" not in site.attributes:
        return site.attributes, site.inputs
    attributes = site.attributes
    axes = attributes["axes"] or [0]
    starts = attributes["starts"] or [0]
    steps = attributes["steps"] or [1]
    ends = attributes["ends"] or [site.shape(0)[0]]
    # Walking down past the first element has no other spelling: -1 would be the last one.
    ends = [-(2**62) if s < 0 and e < 0 else e for s, e in zip(steps, ends, strict=True)]
    return {}, [*site.inputs, _ints(starts), _ints(ends), _ints(axes), _ints(steps)]


def _pad(site: Site) -> Written:
    attributes = dict(site.attributes)
    pads = attributes.pop("pads", None)
    return attributes, site.inputs if pads is None else [*site.inputs, _ints(pads)]


def _tile(site: Site) -> Written:
    if "repeats" not in site.attributes:
        return site.attributes, site.inputs
    return {}, [*site.inputs, _ints(site.attributes["repeats"])]


def _top_k(site: Site) -> Written:
    attributes = dict(site.attributes)
    k = attributes.pop("k", None)
    return attributes, site.inputs if k is None else [*site.inputs, _ints([k])]


def _scalar(name: str) -> Callable[[Site], Written]:
    def write(site: Site) -> Written:
        attributes = dict(site.attributes)
        value = attributes.pop(name, None)
        if value is None:
            return attributes, site.inputs
        return attributes, [*site.inputs, np.array(value, dtype=np.int64)]

    return write


def _one_hot(site: Site) -> Written:
    spec = site.input_specs[1] if len(site.inputs) == 2 else None
    if spec is None:
        return site.attributes, site.inputs
    count = site.output_shape()[site.attributes["axis"]]
    depth = np.full(spec["shape"], count).astype(np.dtype(spec["dtype"]))
    values = np.array([0, 1]).astype(np.dtype(site.output_dtype()))
    return site.attributes, [site.inputs[0], depth, values]


def _resize(site: Site) -> Written:
    if len(site.inputs) > 1:
        return site.attributes, site.inputs
    before, after = site.shape(0), site.output_shape()
    if product(before) and all(
        out % extent == 0 for extent, out in zip(before, after, strict=True)
    ):
        scales = [out / extent for extent, out in zip(before, after, strict=True)]
        return site.attributes, [*site.inputs, "", np.array(scales, dtype=np.float32)]
    return site.attributes, [*site.inputs, "", "", _ints(after)]


def _clip(site: Site) -> Written:
    from onnx import helper

    kind = helper.tensor_dtype_to_np_dtype(NUMBERS[site.output_dtype()])
    return {}, [*site.inputs, np.array(0).astype(kind), np.array(6).astype(kind)]


def _power(site: Site) -> Written:
    from onnx import helper

    attributes = dict(site.attributes)
    exponent = attributes.pop("exponent", None)
    spec = site.input_specs[1]
    if exponent is None or spec is None:
        return attributes, site.inputs
    kind = helper.tensor_dtype_to_np_dtype(NUMBERS[spec["dtype"]])
    value = np.full(spec["shape"], exponent).astype(kind)
    return attributes, [site.inputs[0], value]


_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
               "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip

_RULES: dict[str, Callable[[Site], Written]] = {
    "Conv": _biased,
    "ConvTranspose": _biased,
    "QLinearConv": _quantised_biased,
    "Gemm": _gemm,
    **dict.fromkeys(("Reshape", "Expand"), _shaped),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    **dict.fromkeys(("RandomNormal", "RandomUniform"), _random),
    "Cast": _cast,
    **dict.fromkeys(("Squeeze", "Unsqueeze"), _axes_input),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Tile": _tile,
    "TopK": _top_k,
    "CumSum": _scalar("axis"),
    "Trilu": _scalar("k"),
    "OneHot": _one_hot,
    "Resize": _resize,
    "Clip": _clip,
    "Pow": _power,
}

_PARAMETERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("Squeeze", "Unsqueeze", *_REDUCTIONS), frozenset({"axes"})),
    "Slice": frozenset({"axes", "starts", "ends", "steps"}),
    "Pad": frozenset({"pads"}),
    "Tile": frozenset({"repeats"}),
    "TopK": frozenset({"k"}),
    "CumSum": frozenset({"axis"}),
    "Trilu": frozenset({"k"}),
    "Pow": frozenset({"exponent"}),
}
