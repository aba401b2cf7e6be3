"""Layers in float64 numpy, written from their definitions: the reference of the zoo's blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf

ACTIVATIONS = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "hard_swish": lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
}


class Layers:
    """Layers that take the weights of ``model`` in the order in which they were made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer]
        self._next = 0

    def take(self) -> Any:
        self._next += 1
        return self._arrays[self._next - 1].astype(np.float64)

    def done(self) -> bool:
        return self._next == len(self._arrays)

    def conv(
        self, x: Any, stride: int = 1, pad: Any = None, groups: int = 1, dilation: int = 1,
        bias: bool = False,
    ) -> Any:  # fmt: skip
        weight = self.take()
        y = convolve(x, weight, stride, pad, groups, dilation)
        return y + self.take()[:, None, None] if bias else y

    def bn(self, x: Any, eps: float = 1e-5) -> Any:
        gamma, beta, mean, var = (self.take()[:, None, None] for _ in range(4))
        return gamma * (x - mean) / np.sqrt(var + eps) + beta

    def conv_bn(self, x: Any, stride: int = 1, act: str | None = "relu", **more: Any) -> Any:
        return ACTIVATIONS[act](self.bn(self.conv(x, stride, **more)))

    def linear(self, x: Any) -> Any:
        weight, bias = self.take(), self.take()
        return x @ (weight.T if x.ndim == 2 else weight) + bias

    def layer_norm(self, x: Any, eps: float) -> Any:
        gamma, beta = self.take(), self.take()
        centred = x - x.mean(-1, keepdims=True)
        return gamma * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) + beta


def convolve(
    x: Any, weight: Any, stride: int = 1, pad: Any = None, groups: int = 1, dilation: int = 1
) -> Any:
    """Cross-correlation; ``pad`` is a number or (height, width), by default "same"."""
    out, _, *kernel = weight.shape
    pads = [(k - 1) // 2 * dilation for k in kernel] if pad is None else np.broadcast_to(pad, 2)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pads)])
    spans = [(k - 1) * dilation + 1 for k in kernel]
    windows = sliding_window_view(x, spans, axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride, ::dilation, ::dilation]
    n, c, height, width = windows.shape[:4]
    windows = windows.reshape(n, groups, c // groups, height, width, *kernel)
    weight = weight.reshape(groups, out // groups, c // groups, *kernel)
    y = np.einsum("ngchwij,gocij->ngohw", windows, weight, optimize=True)
    return y.reshape(n, out, height, width)


def pool(x: Any, kind: str, kernel: int, stride: int = 1, pad: int = 0, ceil: bool = False) -> Any:
    """Pooling that leaves padding out; with ``ceil`` the last window may hang over the edge."""
    size = []
    for extent in x.shape[2:]:
        steps = (extent + 2 * pad - kernel) / stride
        last = int(np.ceil(steps) if ceil else np.floor(steps))
        if ceil and last * stride >= extent + pad:
            last -= 1
        size.append(last + 1)
    y = np.empty((*x.shape[:2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(max(i * stride - pad, 0), i * stride - pad + kernel)
            columns = slice(max(j * stride - pad, 0), j * stride - pad + kernel)
            window = x[:, :, rows, columns]
            y[:, :, i, j] = window.max((2, 3)) if kind == "max" else window.mean((2, 3))
    return y


def shuffle(x: Any, groups: int) -> Any:
    """Channel g·k + i (k channels a group) goes to place i·groups + g."""
    c = x.shape[1]
    y = np.empty_like(x)
    for g in range(groups):
        for i in range(c // groups):
            y[:, i * groups + g] = x[:, g * (c // groups) + i]
    return y


def softmax(x: Any) -> Any:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def attention(layers: Layers, x: Any, heads: int) -> Any:
    """One head at a time: softmax(q kᵀ / √d) v."""
    width = x.shape[-1]
    size = width // heads
    q, k, v = np.split(layers.linear(x), 3, axis=-1)
    results = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[..., part] @ k[..., part].swapaxes(-1, -2) / np.sqrt(size)
        results.append(softmax(scores) @ v[..., part])
    return layers.linear(np.concatenate(results, -1))
