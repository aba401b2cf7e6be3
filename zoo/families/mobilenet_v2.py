"""MobileNetV2: inverted residuals with linear bottlenecks."""

from lwprof.zoo.blocks import classifier, conv_bn, inverted_residual, rounded
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

# expansion, channels, repeats, stride
_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
    (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


@network("mobilenet_v2", 2018,
         "MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381", 3_504_872,
         0.301e9, "torchvision", width=1.0)  # fmt: skip
def mobilenet_v2(net: Net) -> Value:
    """Table 2 of the paper."""
    x = net.image()
    x = conv_bn(net, x, rounded(32 * net.width), 3, 2, "relu6")
    for expansion, channels, repeats, stride in _STAGES:
        for i in range(repeats):
            out = rounded(channels * net.width)
            x = inverted_residual(net, x, out, expansion * x.channels, 3, 1 if i else stride)
    x = conv_bn(net, x, rounded(1280 * max(1.0, net.width)), 1, act="relu6")
    return classifier(net, x)
