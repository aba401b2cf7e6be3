"""EfficientNet: one searched network, scaled in width, depth and resolution together."""

import math

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual, rounded
from lwprof.zoo.registry import network

# expansion, kernel, stride, channels, repeats
_STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def efficientnet(net: Net, depth: float) -> Value:
    """Table 1 of arXiv 1905.11946, scaled; the width is the absolute multiplier of B0's channels."""
    net.eps = 1e-3 if net.width > 1.5 else 1e-5
    x = conv_bn(net, net.image(), rounded(32 * net.width), 3, 2, "swish")
    for expansion, kernel, stride, channels, repeats in _STAGES:
        for i in range(math.ceil(repeats * depth)):
            x = inverted_residual(net, x, rounded(channels * net.width),
                                  rounded(expansion * x.channels), kernel, 1 if i else stride,
                                  "swish", squeeze=max(1, x.channels // 4),
                                  squeeze_act="swish")  # fmt: skip
    return classifier(net, conv_bn(net, x, 4 * x.channels, 1, act="swish"))


# width, depth, resolution; torchvision's crop of B2 is 288, the paper's 260
_SCALED = (
    (1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 288), (1.2, 1.4, 300), (1.4, 1.8, 380),
    (1.6, 2.2, 456), (1.8, 2.6, 528), (2.0, 3.1, 600),
)  # fmt: skip
for _i, (_width, _depth, _resolution) in enumerate(_SCALED):
    network(f"efficientnet_b{_i}", resolution=_resolution, width=_width, depth=_depth)(efficientnet)
