"""MnasNet's factorised space (arXiv 1807.11626): seven blocks, the layers of one are alike.

A block's one choice holds everything its layers share: operator, kernel, squeeze-excite, what
runs beside it, channels and layers relative to MobileNetV2. So a table has one cell for each
distinct block, and the interactions within a block are exact.
"""

from __future__ import annotations

import itertools
from typing import Any

from lwprof.search.spaces.options import OptionSpace
from lwprof.zoo.blocks import (
    RESIDUAL,
    Net,
    Value,
    classifier,
    conv_bn,
    depthwise,
    inverted_residual,
    rounded,
    squeeze_excite,
)

STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""Channels, layers and stride of MobileNetV2's seven blocks."""
PARTS = (
    ("conv", "sep", "mb3", "mb6"), ("k3", "k5"), ("se0", "se25"), ("plain", "pool", "identity"),
    ("f75", "f100", "f125"), ("n-1", "n0", "n+1"),
)  # fmt: skip
BLOCKS = tuple("_".join(parts) for parts in itertools.product(*PARTS))


class MnasNet(OptionSpace):
    """Seven words such as ``mb6_k3_se0_identity_f100_n0``."""

    name = "mnasnet"

    def __init__(self) -> None:
        super().__init__({f"block{i}": BLOCKS for i in range(len(STAGES))})

    def _write(self, code: Any) -> str:
        return " ".join(BLOCKS[choice] for choice in code)

    def draw(self, net: Net, **values: Any) -> Value:
        """The ImageNet network."""
        x = conv_bn(net, net.image(), 32, 3, 2)
        for (channels, layers, stride), word in zip(STAGES, values.values(), strict=True):
            *shape, width, more = word.split("_")
            out = rounded(channels * int(width[1:]) / 100)
            for i in range(max(1, layers + int(more[1:]))):
                x = _layer(net, x, out, 1 if i else stride, shape)
        return classifier(net, conv_bn(net, x, 1280, 1))


def _layer(net: Net, x: Value, out: int, stride: int, shape: list[str]) -> Value:
    kind, kernel, squeeze, beside = shape[0], int(shape[1][1]), shape[2] == "se25", shape[3]
    same = stride == 1 and out == x.channels
    joined = same and beside != "plain"
    gain = RESIDUAL if joined else 1.0
    if kind.startswith("mb") and (joined and beside == "identity"):
        return inverted_residual(net, x, out, int(kind[2]) * x.channels, kernel, 1, "relu",
                                 squeeze=squeeze and max(1, x.channels // 4))  # fmt: skip
    y = x
    if kind == "conv":
        y = conv_bn(net, y, out, kernel, stride, gain=gain)
    else:
        if kind != "sep":
            y = conv_bn(net, y, int(kind[2]) * x.channels, 1)
        y = depthwise(net, y, kernel, stride)
    if squeeze:
        y = squeeze_excite(net, y, max(1, x.channels // 4))
    if kind != "conv":
        y = conv_bn(net, y, out, 1, act=None, gain=gain)
    if not joined:
        return y
    return net.add(y, x if beside == "identity" else net.pool(x, "avg", 3, 1, 1))
