"""MCUNet: inverted residuals found by TinyNAS to fit a microcontroller's SRAM and flash."""

from typing import Any

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual
from lwprof.zoo.registry import network

# Channels of the first convolution and of the first block, then rows of
# (channels, stride, (kernel, expansion) of each block)
_IN0 = (24, 16, (16, 2, ((5, 4), (3, 3), (3, 4))), (24, 2, ((7, 5), (5, 4), (5, 5))),
        (48, 2, ((7, 5), (5, 4))), (56, 1, ((3, 5), (5, 4), (3, 5))),
        (112, 2, ((3, 6), (5, 4))), (192, 1, ((3, 6),)))  # fmt: skip
_IN1 = (16, 8, (16, 2, ((3, 4), (3, 3))), (24, 2, ((7, 3), (3, 5))), (40, 2, ((3, 5), (7, 4))),
        (48, 1, ((5, 4), (3, 3), (3, 4))), (96, 2, ((7, 5), (5, 4), (5, 4))),
        (160, 1, ((3, 6),)))  # fmt: skip
_IN2 = (16, 8, (16, 2, ((5, 3), (7, 6), (3, 5), (5, 5))), (24, 2, ((3, 5), (7, 6), (5, 6))),
        (40, 2, ((7, 4), (5, 5))), (48, 1, ((3, 5), (5, 5), (3, 4))),
        (96, 2, ((5, 6), (5, 4), (5, 3), (3, 4))), (160, 1, ((5, 5),)))  # fmt: skip
_IN3 = (16, 8, (16, 2, ((7, 3), (3, 5), (7, 5), (5, 4))), (24, 2, ((5, 5), (5, 5), (5, 5))),
        (40, 2, ((3, 5), (7, 6), (5, 4))), (48, 1, ((5, 5), (7, 5), (3, 5))),
        (96, 2, ((3, 6), (7, 5), (3, 4))), (160, 1, ((7, 5),)))  # fmt: skip
_IN4 = (32, 16, (24, 2, ((7, 3), (3, 5), (5, 4))), (40, 2, ((7, 5), (3, 4), (7, 4))),
        (80, 2, ((7, 3), (3, 3), (7, 3))), (96, 1, ((3, 4), (5, 3), (5, 3))),
        (192, 2, ((7, 4), (7, 3), (5, 3))), (320, 1, ((5, 4),)))  # fmt: skip


@network("mcunet_in0", resolution=48, layers=_IN0)
@network("mcunet_in1", resolution=96, layers=_IN1)
@network("mcunet_in2", resolution=160, layers=_IN2)
@network("mcunet_in3", resolution=176, layers=_IN3)
@network("mcunet_in4", resolution=160, layers=_IN4)
def mcunet(net: Net, layers: tuple[int, int, tuple[int, int, Any]]) -> Value:
    """The released configurations of arXiv 2007.10319."""
    stem, first, *stages = layers
    x = conv_bn(net, net.image(), stem, 3, 2, "relu6")
    x = inverted_residual(net, x, first, stem)
    for out, stride, blocks in stages:
        for i, (kernel, expansion) in enumerate(blocks):
            x = inverted_residual(net, x, out, expansion * x.channels, kernel,
                                  1 if i else stride)  # fmt: skip
    return classifier(net, x)
