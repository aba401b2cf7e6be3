"""Several linear branches as one convolution: what RepVGG and RepGhost deploy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from lwprof.zoo.builder import Net, Norm, Value


def summed(
    net: Net, x: Value, weights: Sequence[Any], gains: Sequence[float], skip: float = 0.0, *,
    stride: int = 1, groups: int = 1, deploy: bool = False,
) -> Value:  # fmt: skip
    """Convolutions of ``x``, each normalised to a size of ``gains``, and ``x`` itself to ``skip``.

    ``deploy`` merges them into one convolution; both forms draw the same numbers. No ``skip`` is 0.
    """
    out = len(weights[0])
    convolved, mean = Value("", (x.shape[0], out), net.gain * x.power), 0.0
    norms = [net.draw_norm(convolved, gain) for gain in gains]
    if skip:  # not centred: a ReLU behind shifts that add up over blocks would die
        norms.append(net.draw_norm(replace(x, mean=0.0), skip))
        mean = skip * x.mean / math.sqrt(x.power)
    if deploy and net.weights.constant:
        y = net.conv_with(x, weights[0], norms[0].beta, stride, groups=groups)
    elif deploy:
        pairs = zip((*weights, identity(out, groups)), norms, strict=False)
        kernel, bias = merge([fold(*pair) for pair in pairs], weights[0].shape[2])
        y = net.conv_with(x, kernel, bias, stride, groups=groups)
    else:
        sides = [net.norm_with(net.conv_with(x, weight, None, stride, groups=groups), norm)
                 for weight, norm in zip(weights, norms, strict=False)]  # fmt: skip
        y = reduce(net.add, [*sides, net.norm_with(x, norms[-1])] if skip else sides)
    return replace(y, power=sum(norm.power for norm in norms), mean=mean)


def fold(weight: Any, norm: Norm) -> tuple[Any, Any]:
    """Weight (out, in / groups, kh, kw) and bias (out,) of a convolution and its batch norm."""
    scale = norm.gamma / np.sqrt(norm.var + np.float32(norm.eps))
    return weight * scale[:, None, None, None], norm.beta - norm.mean * scale


def identity(channels: int, groups: int) -> Any:
    """The 1×1 convolution that changes nothing, (channels, channels / groups, 1, 1)."""
    weight = np.zeros((channels, channels // groups, 1, 1), np.float32)
    weight[np.arange(channels), np.arange(channels) % (channels // groups)] = 1
    return weight


def merge(branches: list[tuple[Any, Any]], kernel: int) -> tuple[Any, Any]:
    """The sum of odd-kernel convolutions of one input, as one ``kernel`` × ``kernel``."""
    total: Any = 0.0
    bias: Any = 0.0
    for weight, offset in branches:
        margin = (kernel - weight.shape[2]) // 2
        total = total + np.pad(weight, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
        bias = bias + offset
    return total, bias
