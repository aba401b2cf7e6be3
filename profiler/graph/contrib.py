"""Shapes through ``com.microsoft`` operators that quantisers and optimisers write.

ONNX's shape inference knows only ONNX's operators. The ones below are given schemas under
a private domain, and the copy of the model that is inferred uses that domain, so that
neither the model nor the public registry changes. A vendor operator that is not here
leaves its results' shapes unknown, and is listed as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

DOMAIN = "lwprof.inference"
VENDOR = "com.microsoft"
_Rule = Callable[[Any], None]


def to_private(graph: Any, has_vendor: bool) -> bool:
    """Moves the operators known here to the private domain, in place.

    Returns:
        True when any was moved, and the model must import the private domain.
    """
    moved = False
    for node in graph.node:
        if (node.domain == VENDOR and has_vendor and node.op_type in _RULES) or (
            node.domain in ("", "ai.onnx") and node.op_type in _PATCHED
        ):
            node.domain = DOMAIN
            moved = True
    if moved:
        _register()
    return moved


def _like(place: int, *others: int) -> _Rule:
    """Output 0 has the type and shape of an input; ``others`` pair (output, input) likewise."""

    def rule(ctx: Any) -> None:
        _pass(ctx, 0, place)
        for output, source in zip(others[::2], others[1::2], strict=True):
            if ctx.get_num_outputs() > output and ctx.has_output(output):
                _pass(ctx, output, source)

    return rule


def _pass(ctx: Any, output: int, place: int) -> None:
    if place < ctx.get_num_inputs() and ctx.get_input_type(place) is not None:
        ctx.set_output_type(output, ctx.get_input_type(place))


def _shape(ctx: Any, place: int) -> list[int | None] | None:
    kind = ctx.get_input_type(place) if place < ctx.get_num_inputs() else None
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    return [
        dim.dim_value if dim.HasField("dim_value") else None for dim in kind.tensor_type.shape.dim
    ]


def _emit(ctx: Any, shape: list[int | None], like: int, dtype: int | None = None) -> None:
    kind = ctx.get_input_type(like)
    number = dtype or (kind.tensor_type.elem_type if kind is not None else 0)
    if number:
        ctx.set_output_type(0, onnx.helper.make_tensor_type_proto(number, shape))


def _attribute(ctx: Any, name: str, default: Any) -> Any:
    found = ctx.get_attribute(name)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _broadcast(a_place: int, b_place: int) -> _Rule:
    def rule(ctx: Any) -> None:
        a, b = _shape(ctx, a_place), _shape(ctx, b_place)
        if a is None or b is None:
            return
        shape = _broadcast_extents(a, b)
        if shape is not None:
            _emit(ctx, shape, a_place)

    return rule


def _broadcast_extents(a: list[int | None], b: list[int | None]) -> list[int | None] | None:
    width = max(len(a), len(b))
    left, right = [1] * (width - len(a)) + a, [1] * (width - len(b)) + b
    shape: list[int | None] = []
    for x, y in zip(left, right, strict=True):
        if x != y and 1 not in (x, y) and None not in (x, y):
            raise ValueError(f"shapes {a} and {b} do not broadcast")
        shape.append(y if x == 1 else x if y == 1 or x is not None else y)
    return shape


def _matmul(a_place: int, b_place: int, dtype: int | None = None) -> _Rule:
    def rule(ctx: Any) -> None:
        a, b = _shape(ctx, a_place), _shape(ctx, b_place)
        if a is None or b is None or len(a) < 2 or len(b) < 2:
            return
        if _attribute(ctx, "transA", 0):
            a = [*a[:-2], a[-1], a[-2]]
        if _attribute(ctx, "transB", 0):
            b = [*b[:-2], b[-1], b[-2]]
        batch = _broadcast_extents(a[:-2], b[:-2])
        if batch is not None and not _attribute(ctx, "transBatchA", 0):
            _emit(ctx, [*batch, a[-2], b[-1]], a_place, dtype)

    return rule


def _gemm(ctx: Any) -> None:
    a, b = _shape(ctx, 0), _shape(ctx, 3)
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return
    rows = a[1] if _attribute(ctx, "transA", 0) else a[0]
    _emit(ctx, [rows, b[0] if _attribute(ctx, "transB", 0) else b[1]], 0)


def _global_pool(ctx: Any) -> None:
    x = _shape(ctx, 0)
    if x is None or len(x) < 3:
        return
    ones: list[int | None] = [1] * (len(x) - 2)
    last = _attribute(ctx, "channels_last", 0)
    _emit(ctx, [x[0], *ones, x[-1]] if last else [x[0], x[1], *ones], 0)


def _concat(ctx: Any) -> None:
    shapes = [_shape(ctx, place) for place in range(2, ctx.get_num_inputs(), 3)]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) != len(shapes):
        return
    axis = _attribute(ctx, "axis", 0)
    extents = [shape[axis] for shape in known]
    joined = list(known[0])
    joined[axis] = None if None in extents else sum(e for e in extents if e is not None)
    _emit(ctx, joined, 2)


def _matmul_nbits(ctx: Any) -> None:
    a = _shape(ctx, 0)
    if a is not None:
        _emit(ctx, [*a[:-1], int(_attribute(ctx, "N", 0))], 0)


def _windows(ctx: Any, extents: list[int], kernel: list[int]) -> list[int | None]:
    """How often a window fits along each spatial axis."""
    rank = len(extents)
    pads = _attribute(ctx, "pads", [0] * 2 * rank)
    strides = _attribute(ctx, "strides", [1] * rank)
    dilations = _attribute(ctx, "dilations", [1] * rank)
    if _attribute(ctx, "auto_pad", b"NOTSET").startswith(b"SAME"):
        return [-(-extent // stride) for extent, stride in zip(extents, strides, strict=True)]
    up = _attribute(ctx, "ceil_mode", 0)
    counts: list[int | None] = []
    for i, extent in enumerate(extents):
        room = extent + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1
        counts.append((-(-room // strides[i]) if up else room // strides[i]) + 1)
    return counts


def _conv(ctx: Any) -> None:
    x, w = _known(_shape(ctx, 0)), _known(_shape(ctx, 1))
    if x is not None and w is not None and len(x) == len(w):
        _emit(ctx, [x[0], w[0], *_windows(ctx, x[2:], w[2:])], 0)


def _pool(ctx: Any) -> None:
    x, kernel = _known(_shape(ctx, 0)), _attribute(ctx, "kernel_shape", None)
    if x is None or kernel is None or len(x) != len(kernel) + 2:
        return
    if _attribute(ctx, "channels_last", 0):
        _emit(ctx, [x[0], *_windows(ctx, x[1:-1], kernel), x[-1]], 0)
    else:
        _emit(ctx, [x[0], x[1], *_windows(ctx, x[2:], kernel)], 0)


def _known(shape: list[int | None] | None) -> list[int] | None:
    extents = [extent for extent in shape or () if extent is not None]
    return extents if shape is not None and len(extents) == len(shape) else None


def _pad(ctx: Any) -> None:
    x, pads = _shape(ctx, 0), ctx.get_input_data(1)
    if x is None or pads is None:
        return
    amounts = np.asarray(numpy_helper.to_array(pads)).reshape(-1).tolist()
    if len(amounts) != 2 * len(x):
        raise ValueError("pads do not match the rank")
    shape = [None if e is None else e + amounts[i] + amounts[len(x) + i] for i, e in enumerate(x)]
    _emit(ctx, shape, 0)


_FLOAT = 1
_SAME = _like(0)
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(
        ("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "BiasSoftmax", "BiasAdd",
         "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "RotaryEmbedding",
         "GroupNorm", "MultiHeadAttention", "GatedRelativePositionBias"), _SAME),
    "SkipLayerNormalization": _like(0, 3, 0), "SkipSimplifiedLayerNormalization": _like(0, 3, 0),
    "SkipGroupNorm": _like(0, 1, 0),
    "QLinearAdd": _broadcast(0, 3), "QLinearMul": _broadcast(0, 3),
    "QLinearAveragePool": _pool, "QLinearGlobalAveragePool": _global_pool, "QLinearConcat": _concat, "QGemm": _gemm,
    "FusedConv": _conv, "FusedMatMul": _matmul(0, 1), "TransposeMatMul": _matmul(0, 1),
    "MatMulNBits": _matmul_nbits, "MatMulBnb4": _matmul_nbits,
    "DynamicQuantizeMatMul": _matmul(0, 1), "MatMulIntegerToFloat": _matmul(0, 1, _FLOAT),
    "Pad": _pad,
}  # fmt: skip

# ONNX operators whose own inference refuses valid models.
_PATCHED: Mapping[str, _Rule] = {"MeanVarianceNormalization": _SAME}


def _register() -> None:
    if onnx.defs.has(next(iter(_RULES)), DOMAIN):
        return
    schema = onnx.defs.OpSchema
    types = sorted({t for s in ("Identity", "Optional") for t in _types(s)})
    for name, rule in {**_RULES, **_PATCHED}.items():
        many = schema.FormalParameterOption.Variadic
        parameter = schema.FormalParameter
        made = schema(
            name, DOMAIN, 1,
            inputs=[parameter("X", "T", param_option=many, is_homogeneous=False, min_arity=0)],
            outputs=[parameter("Y", "U", param_option=many, is_homogeneous=False, min_arity=0)],
            type_constraints=[("T", types, ""), ("U", types, "")],
        )  # fmt: skip
        made.set_type_and_shape_inference_function(rule)
        onnx.defs.register_schema(made)


def deregister() -> None:
    """Takes the private schemas out again: other code walks through the registry
    (``onnx.reference`` does when it is imported) and knows nothing of them."""
    for name in {**_RULES, **_PATCHED}:
        if onnx.defs.has(name, DOMAIN):
            onnx.defs.deregister_schema(name, 1, DOMAIN)


def _types(name: str) -> list[str]:
    schema = onnx.defs.get_schema(name)
    return [t for constraint in schema.type_constraints for t in constraint.allowed_type_strs]
