"""ShuffleNetV2: half the channels pass by, the other half are convolved, then all are shuffled."""

from lwprof.zoo.blocks import channel_shuffle, classifier, conv_bn, depthwise
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = (
    "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, arXiv 1807.11164"
)


@network("shufflenet_v2_x0_5", 2018, _PAPER, 1_366_792, 0.04e9, "torchvision",
         channels=(48, 96, 192, 1024))  # fmt: skip
@network("shufflenet_v2_x1_0", 2018, _PAPER, 2_278_604, 0.145e9, "torchvision",
         channels=(116, 232, 464, 1024))  # fmt: skip
def shufflenet_v2(net: Net, channels: tuple[int, ...]) -> Value:
    """Table 5 of the paper."""
    x = net.image()
    x = net.pool(conv_bn(net, x, 24, 3, 2), "max", 3, 2, 1)
    for out, repeats in zip(channels, (4, 8, 4), strict=False):
        for i in range(repeats):
            x = _unit(net, x, out // 2, 1 if i else 2)
    return classifier(net, conv_bn(net, x, channels[-1], 1))


def _unit(net: Net, x: Value, half: int, stride: int) -> Value:
    if stride == 1:
        passed, x = net.split(x, (half, half))
    else:
        passed = conv_bn(net, depthwise(net, x, 3, stride, None), half, 1)
    y = depthwise(net, conv_bn(net, x, half, 1), 3, stride, None)
    y = conv_bn(net, y, half, 1)
    return channel_shuffle(net, net.concat([passed, y]), 2)
