"""The layers that architectures are written in.

Blocks made of several layers are in `lwprof.zoo.blocks`. Shapes are
(batch, channels, height, width) unless a docstring says otherwise.

Every `Value` carries an estimate of its mean and mean square, followed through the
layers as if it were normal. Batch-norm statistics are drawn around the estimate, so
that they are not trivial and still normalise: activations stay of order one through
any depth, with no calibration run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lwprof.errors import ModelError
from lwprof.zoo.graph import Graph, Value
from lwprof.zoo.weights import SeededWeights

__all__ = ["Net", "Norm", "Pair", "Value"]

Pair = int | tuple[int, int]

# Quadrature of a unit normal, by which activations move the estimates.
_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(40)
_SHARES = _SHARES / _SHARES.sum()


def _logistic(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "leaky_relu": lambda z: np.maximum(z, 0.1 * z),
    "prelu": lambda z: np.maximum(z, 0.25 * z),
    "swish": lambda z: z * _logistic(z),
    "gelu": lambda z: z * _logistic(1.702 * z),
    "hard_swish": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "sigmoid": _logistic,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
}
# Operators of the activations that are one, with their attributes.
_OPERATORS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}), "hard_swish": ("HardSwish", {}), "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}), "leaky_relu": ("LeakyRelu", {"alpha": 0.1}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Norm:
    """Numbers of one batch normalisation; arrays of shape (channels,)."""

    gamma: Any
    beta: Any
    mean: Any
    var: Any
    eps: float
    gain: float = 1.0

    @property
    def power(self) -> float:
        """Mean square of the result: the four numbers' scatter by a tenth adds 4 % to gain²."""
        return 1.04 * self.gain**2


class Net(Graph):
    """A graph with layers.

    Attributes:
        gain: weights have variance ``gain`` / fan-in: 2 as He et al. 2015, 1 as LeCun and Xavier.
        eps: epsilon of batch normalisation.
        batch, resolution, classes, width: what the caller chose; width multiplies channels.
    """

    def __init__(self, weights: SeededWeights, precision: str = "float32") -> None:
        super().__init__(weights, precision)
        self.gain, self.eps = 2.0, 1e-5
        self.batch, self.resolution, self.classes, self.width = 1, 224, 1000, 1.0

    def image(self, channels: int = 3) -> Value:
        """The graph input of a network on square images."""
        return self.input((self.batch, channels, self.resolution, self.resolution))

    def draw(self, shape: Sequence[int], std: float, mean: float = 0.0) -> Any:
        """Seeded normal float32 array of ``shape``, not yet part of the graph."""
        return self.weights.draw(tuple(shape), std, mean)

    def draw_weight(self, shape: Sequence[int]) -> Any:
        """Seeded weight of ``shape`` (outputs, fan-in…) with the network's initialisation."""
        return self.draw(shape, math.sqrt(self.gain / math.prod(shape[1:])))

    def conv(
        self, x: Value, out: int, kernel: Pair = 3, stride: Pair = 1, *, pad: Pair | None = None,
        groups: int = 1, dilation: int = 1, bias: bool = False,
    ) -> Value:  # fmt: skip
        """Convolution to ``out`` channels; ``pad`` defaults to "same" for odd kernels."""
        _check_size((out, x.channels // groups), x)
        weight = self.draw_weight((out, x.channels // groups, *_pair(kernel)))
        offset = self.draw((out,), 0.02) if bias else None
        return self.conv_with(x, weight, offset, stride, pad=pad, groups=groups, dilation=dilation)

    def conv_with(
        self, x: Value, weight: Any, bias: Any = None, stride: Pair = 1, *,
        pad: Pair | None = None, groups: int = 1, dilation: int = 1,
    ) -> Value:  # fmt: skip
        """Convolution with given ``weight`` (out, in / groups, kh, kw) and ``bias`` (out,)."""
        kernel, strides = weight.shape[2:], _pair(stride)
        pads = _pair(pad) if pad is not None else tuple((k - 1) // 2 * dilation for k in kernel)
        size = [(n + 2 * p - dilation * (k - 1) - 1) // s + 1
                for n, p, k, s in zip(x.shape[2:], pads, kernel, strides, strict=True)]  # fmt: skip
        _check_size(size, x)
        inputs: list[Value | str] = [x, self.parameter(weight)]
        if bias is not None:
            inputs.append(self.parameter(bias, "bias"))
        return self.op("Conv", inputs, (x.shape[0], weight.shape[0], *size), self.gain * x.power,
                       kernel_shape=kernel, strides=strides, pads=(*pads, *pads), group=groups,
                       dilations=(dilation, dilation))  # fmt: skip

    def draw_norm(self, x: Value, gain: float = 1.0) -> Norm:
        """Seeded batch normalisation that brings values like ``x`` to size ``gain``."""
        shape, std = (x.channels,), x.std
        gamma, beta = self.draw(shape, 0.1 * gain, gain), self.draw(shape, 0.1 * gain)
        mean = self.draw(shape, 0.1 * std, x.mean)
        var = np.maximum(self.draw(shape, 0.1 * std**2, std**2), np.float32(0.3 * std**2))
        return Norm(gamma, beta, mean, var, self.eps, gain)

    def norm_with(self, x: Value, norm: Norm) -> Value:
        """Batch normalisation with given numbers."""
        numbers = {"gamma": norm.gamma, "beta": norm.beta, "mean": norm.mean, "var": norm.var}
        inputs = [self.parameter(array, part) for part, array in numbers.items()]
        return self.op("BatchNormalization", [x, *inputs], x.shape, norm.power, epsilon=norm.eps)

    def batch_norm(self, x: Value, gain: float = 1.0) -> Value:
        """Batch normalisation in its inference form; ``gain`` is the size of the result."""
        return self.norm_with(x, self.draw_norm(x, gain))

    def layer_norm(self, x: Value, eps: float = 1e-6) -> Value:
        """Layer normalisation over the last axis."""
        width = x.shape[-1:]
        gamma = self.parameter(self.draw(width, 0.1, 1.0), "gamma")
        beta = self.parameter(self.draw(width, 0.1), "beta")
        return self.op("LayerNormalization", [x, gamma, beta], x.shape, 1.0, epsilon=eps)

    def linear(self, x: Value, out: int) -> Value:
        """Fully connected layer over the last axis: a Gemm for matrices, else MatMul and Add."""
        _check_size((out,), x)
        weight, shape = self.draw_weight((out, x.shape[-1])), (*x.shape[:-1], out)
        bias, power = self.draw((out,), 0.02), self.gain * x.power
        if len(shape) == 2:
            names = [self.parameter(weight), self.parameter(bias, "bias")]
            return self.op("Gemm", [x, *names], shape, power, transB=1)
        y = self.op("MatMul", [x, self.parameter(weight.T)], shape, power)
        return self.op("Add", [y, self.parameter(bias, "bias")], shape)

    def act(self, x: Value, kind: str | None) -> Value:
        """Activation ``kind``; None is the identity."""
        if kind is None:
            return x
        image = _ACTIVATIONS[kind](x.mean + x.std * _NODES)
        y = self._activation(x, kind)
        return replace(y, power=float(_SHARES @ image**2), mean=float(_SHARES @ image))

    def _activation(self, x: Value, kind: str) -> Value:
        match kind:
            case "relu6":
                return self.op("Clip", [x, self.number(0), self.number(6)], x.shape)
            case "swish":
                return self.op("Mul", [x, self.op("Sigmoid", [x], x.shape)], x.shape)
            case "gelu":
                erf = self.op("Erf", [self.op("Div", [x, self.number(2**0.5)], x.shape)], x.shape)
                erf = self.op("Add", [erf, self.number(1)], x.shape)
                half = self.op("Mul", [x, self.number(0.5)], x.shape)
                return self.op("Mul", [half, erf], x.shape)
            case "prelu":
                slope = self.parameter(self.draw((x.channels, 1, 1), 0.02, 0.25), "slope")
                return self.op("PRelu", [x, slope], x.shape)
        name, attributes = _OPERATORS[kind]
        return self.op(name, [x], x.shape, **attributes)

    def pool(
        self, x: Value, kind: str, kernel: Pair, stride: Pair = 1, pad: Pair = 0, ceil: bool = False
    ) -> Value:
        """``max`` or ``avg`` pooling; average pooling leaves padding out of the mean."""
        kernels, strides, pads = _pair(kernel), _pair(stride), _pair(pad)
        size = []
        for n, p, k, s in zip(x.shape[2:], pads, kernels, strides, strict=True):
            span = n + 2 * p - k
            # With ceil, too, a window must start inside the input.
            size.append(1 + (min(-(-span // s), (n + p - 1) // s) if ceil else span // s))
        _check_size(size, x)
        if kind == "max":
            name, mean, var = "MaxPool", x.mean + x.std, 0.6 * x.std**2
        else:
            name, mean, var = "AveragePool", x.mean, 0.4 * x.std**2
        return self.op(name, [x], (*x.shape[:2], *size), mean**2 + var, mean,
                       kernel_shape=kernels, strides=strides, pads=(*pads, *pads),
                       ceil_mode=int(ceil))  # fmt: skip

    def global_pool(self, x: Value, kind: str = "avg") -> Value:
        """``avg`` or ``max`` pooling over height and width, (n, c, 1, 1)."""
        if kind == "max":
            name, mean, var = "GlobalMaxPool", x.mean + 3 * x.std, 0.3 * x.std**2
        else:
            name, mean, var = "GlobalAveragePool", x.mean, 0.2 * x.std**2
        return self.op(name, [x], (*x.shape[:2], 1, 1), mean**2 + var, mean)

    def adaptive_pool(self, x: Value, size: int) -> Value:
        """Average pooling to ``size`` × ``size``; pixels of smaller maps are repeated.

        PyTorch's where ``size`` divides the map or the map divides ``size``.
        """
        height, width = x.shape[2:]
        if (height, width) == (size, size):
            return x
        if height < size or width < size:
            return self.resize(x, (size, size))
        strides = (height // size, width // size)
        kernel = tuple(n - (size - 1) * s for n, s in zip((height, width), strides, strict=True))
        return self.pool(x, "avg", (kernel[0], kernel[1]), strides)

    def resize(self, x: Value, size: Sequence[int]) -> Value:
        """Pixels repeated to a map of ``size``."""
        shape = (*x.shape[:2], *size)
        return self.op("Resize", [x, "", "", self.integers(shape)], shape, mode="nearest",
                       coordinate_transformation_mode="asymmetric",
                       nearest_mode="floor")  # fmt: skip

    def add(self, x: Value, y: Value) -> Value:
        """Element-wise sum."""
        mean = x.mean + y.mean
        return self.op(
            "Add", [x, y], _broadcast(x.shape, y.shape), mean**2 + x.std**2 + y.std**2, mean
        )

    def mul(self, x: Value, y: Value) -> Value:
        """Element-wise product, with broadcasting."""
        return self.op(
            "Mul", [x, y], _broadcast(x.shape, y.shape), x.power * y.power, x.mean * y.mean
        )

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        """Concatenation along ``axis``; one value alone is returned unchanged."""
        if len(values) == 1:
            return values[0]
        extents = [v.shape[axis] for v in values]
        shape = list(values[0].shape)
        shape[axis] = sum(extents)
        _broadcast(*((*v.shape[:axis], *v.shape[axis + 1 :]) for v in values))
        parts = [(v.power * n, v.mean * n) for v, n in zip(values, extents, strict=True)]
        power, mean = (sum(column) / sum(extents) for column in zip(*parts, strict=True))
        return self.op("Concat", values, shape, power, mean, axis=axis)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Same elements, other shape; -1 in one place is worked out."""
        known = -math.prod(shape)
        if known > 0:
            shape = [math.prod(x.shape) // known if n == -1 else n for n in shape]
        return self.op("Reshape", [x, self.integers(shape)], shape)

    def flatten(self, x: Value) -> Value:
        """(n, everything else)."""
        return self.op("Flatten", [x], (x.shape[0], math.prod(x.shape[1:])), axis=1)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Axes in the given order."""
        return self.op("Transpose", [x], [x.shape[i] for i in order], perm=tuple(order))

    def slice(self, x: Value, start: int, stop: int, axis: int = 1) -> Value:
        """``x[start:stop]`` along ``axis``."""
        shape = list(x.shape)
        shape[axis] = stop - start
        bounds = [self.integers([i]) for i in (start, stop, axis)]
        return self.op("Slice", [x, *bounds], shape)

    def shift(self, x: Value) -> Value:
        """``x`` moved up and left by one pixel, zeros coming in."""
        start, stop, axes = ([1, 1], [*x.shape[2:]], [2, 3])
        cut = (*x.shape[:2], *(n - 1 for n in x.shape[2:]))
        y = self.op("Slice", [x, *(self.integers(v) for v in (start, stop, axes))], cut)
        return self.op("Pad", [y, self.integers([0, 0, 0, 0, 0, 0, 1, 1])], x.shape)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ModelError(f"maps of {' and '.join(map(str, shapes))} cannot be joined: choose "
                         "another resolution, such as a multiple of 32") from error  # fmt: skip


def _check_size(size: Sequence[int], x: Value) -> None:
    if min(size) < 1:
        raise ModelError(f"nothing is left behind {x.name!r}, {'×'.join(map(str, x.shape[1:]))}: "
                         "choose a larger resolution or width")  # fmt: skip
