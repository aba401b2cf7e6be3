"""A runtime's fused operators, written as the standard operators that they stand for.

ONNX Runtime's blocked-layout convolution with an activation, its ``FusedConv`` and a plain
``Conv`` followed by ``Relu`` are one piece of work, so they get one description. Layouts
are undone too: extents are always those of the standard operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels.values import Call, Value, split_type

# Domains whose operators are ai.onnx's, on another layout of the data.
_LAYOUT_DOMAINS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
_NHWC_DOMAIN = "com.ms.internal.nhwc"

# Inputs of a fused operator that are stored channels-last.
_CHANNELS_LAST = {
    "com.microsoft.QLinearConv": (0,),
    "com.microsoft.NhwcFusedConv": (0, 3),
    "com.microsoft.NhwcMaxPool": (0,),
    "com.microsoft.QLinearAveragePool": (0,),
    "com.microsoft.QLinearGlobalAveragePool": (0,),
    "com.microsoft.GridSample": (),
}
_ALWAYS_LAST = ("com.microsoft.NhwcFusedConv", "com.microsoft.NhwcMaxPool")


def unfused(call: Call) -> list[Call]:
    """The standard operators that ``call`` stands for, in order; itself if it stands alone."""
    call = channels_first(call)
    domain, name = split_type(call.op)
    if domain in _LAYOUT_DOMAINS:
        call = replace(call, op=name)
    decompose = _DECOMPOSED.get(call.op)
    if decompose is None and name == "Conv" and "activation" in call.attributes:
        decompose = _convolution
    if decompose is None and name == "Conv" and call.input(3) is not None:
        decompose = _convolution
    return [call] if decompose is None else decompose(call)


def channels_first(call: Call) -> Call:
    """``call`` with the extents that it would have on the standard layout."""
    domain, _ = split_type(call.op)
    if domain == _NHWC_DOMAIN:
        places: tuple[int, ...] = (0, 3)
    elif call.op in _CHANNELS_LAST and (
        call.op in _ALWAYS_LAST or call.attributes.get("channels_last", 0)
    ):
        places = _CHANNELS_LAST[call.op]
    else:
        return call
    attributes = {k: v for k, v in call.attributes.items() if k != "channels_last"}
    inputs = tuple(
        _first(value) if place in places else value for place, value in enumerate(call.inputs)
    )
    return replace(
        call,
        attributes=attributes,
        inputs=inputs,
        outputs=tuple(_first(value) for value in call.outputs),
    )


def _first(value: Value | None) -> Value | None:
    if value is None or value.shape is None or len(value.shape) < 3:
        return value
    shape = value.shape
    return replace(value, shape=(shape[0], shape[-1], *shape[1:-1]))


def _convolution(call: Call) -> list[Call]:
    """FusedConv and its relatives: convolution, then a sum, then an activation."""
    attributes = dict(call.attributes)
    activation = attributes.pop("activation", "")
    attributes.pop("activation_params", None)
    result = call.outputs[0]
    steps = [Call("Conv", attributes, call.inputs[:3], (result,), call.opset)]
    if (added := call.input(3)) is not None:
        steps = _then(steps, "Add", result, (added,))
    if activation:
        steps = _then(steps, activation, result, ())
    return steps


def _then(
    steps: list[Call], op: str, result: Value | None, others: tuple[Value, ...]
) -> list[Call]:
    """Appends ``op`` on what the last step makes, which becomes an inner value."""
    inner = None if result is None else replace(result)
    last = replace(steps[-1], outputs=(inner,))
    return [*steps[:-1], last, Call(op, {}, (inner, *others), (result,), last.opset)]


def _gemm(call: Call) -> list[Call]:
    attributes = {k: v for k, v in call.attributes.items() if not k.startswith("activation")}
    first = Call("Gemm", attributes, call.inputs, call.outputs, call.opset)
    activation = call.attributes.get("activation", "")
    return _then([first], activation, call.outputs[0], ()) if activation else [first]


def _matmul(call: Call) -> list[Call]:
    flags = ("transA", "transB", "transBatchA", "transBatchB")
    if any(call.attributes.get(flag, 0) for flag in flags):
        return [replace(call, op="com.microsoft.FusedMatMul")]
    return [Call("MatMul", {}, call.inputs, call.outputs, call.opset)]


def _swish(call: Call) -> list[Call]:
    """x·sigmoid(x), which networks write as two operators."""
    if abs(float(call.attributes.get("alpha", 1.702)) - 1.0) > 1e-6:
        return [call]
    data, result = call.inputs[0], call.outputs[0]
    inner = None if result is None else replace(result)
    return [
        Call("Sigmoid", {}, (data,), (inner,), call.opset),
        Call("Mul", {}, (data, inner), (result,), call.opset),
    ]


def _renamed(op: str) -> Callable[[Call], list[Call]]:
    return lambda call: [replace(call, op=op)]


def _upsample(call: Call) -> list[Call]:
    """The blocked-layout Upsample is today's Resize, with its scales as an attribute."""
    attributes: dict[str, Any] = {
        k: v for k, v in call.attributes.items() if k in ("mode", "coordinate_transformation_mode")
    }
    if attributes.get("mode", "nearest") == "nearest":
        attributes["nearest_mode"] = "floor"
    return [Call("Resize", attributes, call.inputs[:1], call.outputs, max(call.opset, 13))]


_DECOMPOSED: dict[str, Callable[[Call], list[Call]]] = {
    "com.microsoft.FusedConv": _convolution,
    "com.microsoft.NhwcFusedConv": _convolution,
    "com.microsoft.FusedGemm": _gemm,
    "com.microsoft.FusedMatMul": _matmul,
    "com.microsoft.TransposeMatMul": _matmul,
    "com.microsoft.QuickGelu": _swish,
    "com.microsoft.Gelu": _renamed("Gelu"),
    "com.microsoft.QLinearConv": _renamed("QLinearConv"),
    "com.microsoft.NhwcMaxPool": _renamed("MaxPool"),
    "com.microsoft.nchwc.Upsample": _upsample,
}
