"""Canonical forms of convolutions and pools: explicit pads, strides, dilations and kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels.values import Call, Value

Attributes = dict[str, Any]


def convolution(call: Call, attributes: Attributes) -> tuple[Call, Attributes]:
    """Conv, ConvInteger, QLinearConv, ConvTranspose and DeformConv.

    A bias does not count: runtimes start their sums from it instead of from zero, which
    costs nothing, and after folding a batch normalisation every convolution has one.
    """
    place, bias = _PLACES.get(call.op, (1, 2))
    data, weight = call.input(0), call.input(place)
    kernel = _spatial(weight)
    if kernel is None:
        kernel = _given(attributes, "kernel_shape")
    if kernel is None:
        return call, attributes
    window = _window(attributes, kernel)
    window["group"] = int(attributes.get("group", 1))
    offsets = int(attributes.get("offset_group", 1))
    if call.op == "DeformConv":
        window["offset_group"] = offsets
    if call.op == "ConvTranspose":
        _transposed(window, attributes, _spatial(data), _spatial(call.output(0)))
    else:
        _explicit_pads(window, attributes, _spatial(data))
    inputs = list(call.inputs)
    if len(inputs) > bias:
        inputs[bias] = None
    return replace(call, inputs=_trimmed(inputs)), window


# Where the weight and the bias are; (1, 2) otherwise.
_PLACES = {"QLinearConv": (3, 8), "DeformConv": (1, 3), "ConvInteger": (1, 4)}


def pool(call: Call, attributes: Attributes) -> tuple[Call, Attributes]:
    """MaxPool, AveragePool, LpPool and their quantised forms."""
    kernel = _given(attributes, "kernel_shape")
    if kernel is None:
        return call, attributes
    window = _window(attributes, kernel)
    data = _spatial(call.input(0))
    _explicit_pads(window, attributes, data)
    if attributes.get("ceil_mode") and _ceil_matters(window, data, _spatial(call.output(0))):
        window["ceil_mode"] = 1
    if attributes.get("count_include_pad") and any(window.get("pads", [1])):
        window["count_include_pad"] = 1
    if attributes.get("storage_order") and call.output(1) is not None:
        window["storage_order"] = 1
    if "p" in attributes:
        window["p"] = attributes["p"]
    if call.op != "MaxPool" and set(window["dilations"]) == {1}:
        del window["dilations"]  # newer opsets only
    return call, window


def _window(attributes: Attributes, kernel: Sequence[int]) -> Attributes:
    ones = [1] * len(kernel)
    return {
        "kernel_shape": list(kernel),
        "strides": _given(attributes, "strides") or ones,
        "dilations": _given(attributes, "dilations") or ones,
    }


def _explicit_pads(window: Attributes, attributes: Attributes, data: Sequence[int] | None) -> None:
    """Writes ``pads``; keeps ``auto_pad`` only where the input's extents are unknown."""
    mode = attributes.get("auto_pad", "NOTSET")
    count = len(window["kernel_shape"])
    if mode == "VALID":
        window["pads"] = [0] * (2 * count)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        if data is None or len(data) != count:
            window["auto_pad"] = mode
            return
        totals = [
            max((-(-extent // stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
            for extent, size, stride, dilation in zip(
                data, window["kernel_shape"], window["strides"], window["dilations"], strict=True
            )
        ]
        window["pads"] = _halves(totals, mode)
    else:
        window["pads"] = _given(attributes, "pads") or [0] * (2 * count)


def _transposed(
    window: Attributes,
    attributes: Attributes,
    data: Sequence[int] | None,
    output: Sequence[int] | None,
) -> None:
    """Pads of a transposed convolution from its output's extents, which all its modes give."""
    count = len(window["kernel_shape"])
    extra = _given(attributes, "output_padding") or [0] * count
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET" and "output_shape" not in attributes:
        window["pads"] = _given(attributes, "pads") or [0] * (2 * count)
    elif data is not None and output is not None and len(data) == len(output) == count:
        totals = [
            stride * (extent - 1) + add + (size - 1) * dilation + 1 - out
            for stride, extent, add, size, dilation, out in zip(
                window["strides"],
                data,
                extra,
                window["kernel_shape"],
                window["dilations"],
                output,
                strict=True,
            )
        ]
        # A wanted output larger than the plain one is met by padding the output instead.
        extra = [add + max(-total, 0) for add, total in zip(extra, totals, strict=True)]
        # ONNX: only SAME_UPPER puts the odd element at the end here.
        side = mode if mode == "SAME_UPPER" else "SAME_LOWER"
        window["pads"] = _halves([max(total, 0) for total in totals], side)
    else:
        window["auto_pad"] = mode
        if "output_shape" in attributes:
            window["output_shape"] = attributes["output_shape"]
    window["output_padding"] = extra


def _halves(totals: Sequence[int], mode: str) -> list[int]:
    small = [total // 2 for total in totals]
    large = [total - half for total, half in zip(totals, small, strict=True)]
    return large + small if mode == "SAME_LOWER" else small + large


def _ceil_matters(
    window: Attributes, data: Sequence[int] | None, output: Sequence[int] | None
) -> bool:
    if data is None or output is None or "pads" not in window:
        return True
    floor = pooled_extents(window, data)
    return floor is None or list(floor) != list(output)


def pooled_extents(window: Mapping[str, Any], data: Sequence[int]) -> list[int] | None:
    """Output extents of a window with explicit pads that rounds down; None if they do not fit."""
    count = len(window["kernel_shape"])
    if len(data) != count:
        return None
    pads = window["pads"]
    return [
        (
            data[i]
            + pads[i]
            + pads[i + count]
            - window["dilations"][i] * (window["kernel_shape"][i] - 1)
            - 1
        )
        // window["strides"][i]
        + 1
        for i in range(count)
    ]


def _spatial(value: Value | None) -> list[int] | None:
    if value is None or value.shape is None or len(value.shape) < 3:
        return None
    extents = [extent for extent in value.shape[2:] if extent is not None]
    return extents if len(extents) == len(value.shape) - 2 else None


def _given(attributes: Mapping[str, Any], name: str) -> list[int] | None:
    value = attributes.get(name)
    return list(value) if isinstance(value, list) and value else None


def _trimmed(inputs: Sequence[Value | None]) -> tuple[Value | None, ...]:
    kept = list(inputs)
    while kept and kept[-1] is None:
        kept.pop()
    return tuple(kept)


RULES: dict[str, Callable[[Call, Attributes], tuple[Call, Attributes]]] = {
    "Conv": convolution,
    "ConvInteger": convolution,
    "QLinearConv": convolution,
    "ConvTranspose": convolution,
    "DeformConv": convolution,
    "MaxPool": pool,
    "AveragePool": pool,
    "LpPool": pool,
    "com.microsoft.QLinearAveragePool": pool,
}
