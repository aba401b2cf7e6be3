"""Chain-structured spaces: one layer after another, without and with edges that skip layers.

``chain``: ten places, each a convolution, a pooling or nothing (MetaQNN-like, arXiv 1611.02167).
``chain_residual``: every place from the third on may also add the output of two places before
(a 1×1 convolution where channels differ), as Zoph and Le added to their chains.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.predictors.space import Codes
from lwprof.search.spaces.options import SMALL_IMAGES, OptionSpace
from lwprof.zoo.blocks import RESIDUAL, Net, Value, classifier, conv_bn

LAYERS = ("none", "k1_c16", "k1_c32", "k1_c64", "k3_c16", "k3_c32", "k3_c64", "k5_c16", "k5_c32",
          "k5_c64", "pool")  # fmt: skip
PLACES = 10
SMALLEST = 2  # maps are pooled no smaller


class Chain(OptionSpace):
    """Ten places of :data:`LAYERS`."""

    name = "chain"
    drawing = SMALL_IMAGES

    def __init__(self) -> None:
        super().__init__({f"layer{i}": LAYERS for i in range(PLACES)})

    def draw(self, net: Net, **values: Any) -> Value:
        """A CIFAR-10 network: a stem of 16 channels, the places, a classifier."""
        x = conv_bn(net, net.image(), 16, 3)
        for i in range(PLACES):
            x = _layer(net, x, values[f"layer{i}"])
        return classifier(net, x)


class ResidualChain(OptionSpace):
    """Ten places, and from the third on whether the output of two places before is added."""

    name = "chain_residual"
    drawing = SMALL_IMAGES

    def __init__(self) -> None:
        blocks: dict[str, Any] = {f"layer{i}": LAYERS for i in range(PLACES)}
        blocks |= {f"skip{i}": ("no", "yes") for i in range(2, PLACES)}
        super().__init__(blocks)
        self.rewrites = ("none", "bwd")

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """After ``bwd``, an edge to a place that is empty or pools is ``no``: none is drawn."""
        self._known(rewrite)
        if rewrite == "none":
            return codes
        layers = codes[:, 2:PLACES]
        drawn = (layers > 0) & (layers < len(LAYERS) - 1)
        return np.concatenate([codes[:, :PLACES], np.where(drawn, codes[:, PLACES:], 0)], axis=1)

    def draw(self, net: Net, **values: Any) -> Value:
        """As a chain, with the edges between maps brought to the same size."""
        x = conv_bn(net, net.image(), 16, 3)
        outputs: list[Value] = []
        for i in range(PLACES):
            layer = values[f"layer{i}"]
            y = _layer(net, x, layer)
            if i >= 2 and values[f"skip{i}"] == "yes" and layer[0] == "k":
                y = net.add(y, _like(net, outputs[i - 2], y))
            outputs.append(y)
            x = y
        return classifier(net, x)


def _layer(net: Net, x: Value, layer: str) -> Value:
    if layer == "none":
        return x
    if layer == "pool":
        return net.pool(x, "max", 2, 2) if x.shape[2] > SMALLEST else x
    kernel, channels = layer[1:].split("_c")
    return conv_bn(net, x, int(channels), int(kernel), gain=RESIDUAL)


def _like(net: Net, x: Value, y: Value) -> Value:
    stride = x.shape[2] // y.shape[2]
    if stride == 1 and x.channels == y.channels:
        return x
    return conv_bn(net, x, y.channels, 1, stride, None)
