"""ShuffleNetV1: grouped 1×1 convolutions with a channel shuffle between them."""

from lwprof.zoo.blocks import RESIDUAL, channel_shuffle, classifier, conv_bn, depthwise
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network


@network("shufflenet_v1", 2017,
         "ShuffleNet: An Extremely Efficient CNN for Mobile Devices, arXiv 1707.01083",
         1_865_728, 137e6, "parameters of pytorchcv shufflenet_g3_w1; MACs of the paper",
         width=1.0)  # fmt: skip
def shufflenet_v1(net: Net, groups: int = 3) -> Value:
    """Table 1 of the paper, column g = 3."""
    x = net.image()
    x = net.pool(conv_bn(net, x, 24, 3, 2), "max", 3, 2, 1)
    step = 4 * groups * 5
    for stage, (channels, repeats) in enumerate(((240, 4), (480, 8), (960, 4))):
        out = max(step, round(channels * net.width / step) * step)
        for i in range(repeats):
            x = _unit(net, x, out, 1 if i else 2, groups, 1 if stage == i == 0 else groups)
    return classifier(net, x)


def _unit(net: Net, x: Value, out: int, stride: int, groups: int, first_groups: int) -> Value:
    new = out if stride == 1 else out - x.channels
    y = conv_bn(net, x, out // 4, 1, groups=first_groups)
    y = depthwise(net, channel_shuffle(net, y, groups), 3, stride, None)
    y = conv_bn(net, y, new, 1, act=None, groups=groups, gain=RESIDUAL if stride == 1 else 1.0)
    if stride == 1:
        return net.act(net.add(x, y), "relu")
    return net.act(net.concat([net.pool(x, "avg", 3, 2, 1), y]), "relu")
