"""ProxylessNAS (arXiv 1812.00332): 21 layers, six inverted residuals each, or none.

The first layer of a stage changes stride or channels and cannot be left out.
"""

from __future__ import annotations

from typing import Any

from lwprof.search.spaces.options import OptionSpace
from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual

STAGES = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))
"""Channels, layers, stride of the first; before them 32 channels and a fixed layer of 16."""
BLOCKS = ("k3_e3", "k3_e6", "k5_e3", "k5_e6", "k7_e3", "k7_e6")


class ProxylessNas(OptionSpace):
    """21 words ``k3_e3`` … ``k7_e6``, ``skip``."""

    name = "proxylessnas"

    def __init__(self) -> None:
        super().__init__({
            f"layer{stage}_{i}": BLOCKS + (("skip",) if i else ())
            for stage, (_, layers, _) in enumerate(STAGES) for i in range(layers)
        })  # fmt: skip

    def _write(self, code: Any) -> str:
        return " ".join(words[choice] for words, choice in zip(self._words, code, strict=True))

    def draw(self, net: Net, **values: Any) -> Value:
        """The ImageNet network."""
        net.eps, layers = 1e-3, iter(values.values())
        x = conv_bn(net, net.image(), 32, 3, 2, "relu6")
        x = inverted_residual(net, x, 16, 32)
        for channels, repeats, stride in STAGES:
            for i in range(repeats):
                block = next(layers)
                if block != "skip":
                    kernel, hidden = int(block[1]), int(block[4]) * x.channels
                    x = inverted_residual(net, x, channels, hidden, kernel, 1 if i else stride)
        return classifier(net, conv_bn(net, x, 1280, 1, act="relu6"))
