"""ShuffleNet: V1's grouped 1×1 convolutions, V2's halves that pass by; both shuffle channels."""

from lwprof.zoo.blocks import RESIDUAL, Net, Value, channel_shuffle, classifier, conv_bn, depthwise
from lwprof.zoo.registry import network


@network("shufflenet_v1", width=1.0)
def shufflenet_v1(net: Net, groups: int = 3) -> Value:
    """Table 1 of arXiv 1707.01083, column g = 3."""
    x = net.pool(conv_bn(net, net.image(), 24, 3, 2), "max", 3, 2, 1)
    step = 4 * groups * 5
    for stage, (channels, repeats) in enumerate(((240, 4), (480, 8), (960, 4))):
        out = max(step, round(channels * net.width / step) * step)
        for i in range(repeats):
            x = grouped_unit(net, x, out, 1 if i else 2, groups, 1 if stage == i == 0 else groups)
    return classifier(net, x)


def grouped_unit(
    net: Net, x: Value, out: int, stride: int, groups: int, first_groups: int
) -> Value:
    """Figure 2 of V1's paper; the first 1×1 of the network has no groups."""
    new = out if stride == 1 else out - x.channels
    y = conv_bn(net, x, out // 4, 1, groups=first_groups)
    y = depthwise(net, channel_shuffle(net, y, groups), 3, stride, None)
    y = conv_bn(net, y, new, 1, act=None, groups=groups, gain=RESIDUAL if stride == 1 else 1.0)
    if stride == 1:
        return net.act(net.add(x, y), "relu")
    return net.act(net.concat([net.pool(x, "avg", 3, 2, 1), y]), "relu")


@network("shufflenet_v2_x0_5", channels=(48, 96, 192, 1024))
@network("shufflenet_v2_x1_0", channels=(116, 232, 464, 1024))
def shufflenet_v2(net: Net, channels: tuple[int, ...]) -> Value:
    """Table 5 of arXiv 1807.11164."""
    x = net.pool(conv_bn(net, net.image(), 24, 3, 2), "max", 3, 2, 1)
    for out, repeats in zip(channels, (4, 8, 4), strict=False):
        for i in range(repeats):
            x = split_unit(net, x, out // 2, 1 if i else 2)
    return classifier(net, conv_bn(net, x, channels[-1], 1))


def split_unit(net: Net, x: Value, half: int, stride: int) -> Value:
    """Figure 3 of V2's paper."""
    if stride == 1:
        passed, x = net.split(x, (half, half))
    else:
        passed = conv_bn(net, depthwise(net, x, 3, stride, None), half, 1)
    y = depthwise(net, conv_bn(net, x, half, 1), 3, stride, None)
    return channel_shuffle(net, net.concat([passed, conv_bn(net, y, half, 1)]), 2)
