"""Several linear branches as one convolution: what RepVGG and RepGhost deploy."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.zoo.builder import Norm


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
