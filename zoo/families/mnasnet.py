"""MnasNet: inverted residuals searched block by block on a phone."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, depthwise, inverted_residual, rounded
from lwprof.zoo.registry import network

# kernel, stride, expansion, channels, repeats, squeeze-excite
_A1 = (
    (3, 2, 6, 24, 2, 0), (5, 2, 3, 40, 3, 1), (3, 2, 6, 80, 4, 0), (3, 1, 6, 112, 2, 1),
    (5, 2, 6, 160, 3, 1), (3, 1, 6, 320, 1, 0),
)  # fmt: skip
_B1 = (
    (3, 2, 3, 24, 3, 0), (5, 2, 3, 40, 3, 0), (5, 2, 6, 80, 3, 0), (3, 1, 6, 96, 2, 0),
    (5, 2, 6, 192, 4, 0), (3, 1, 6, 320, 1, 0),
)  # fmt: skip


@network("mnasnet_a1", width=1.0, stages=_A1)
@network("mnasnet_b1", width=1.0, stages=_B1)
def mnasnet(net: Net, stages: tuple[tuple[int, int, int, int, int, int], ...]) -> Value:
    """Figure 7 of arXiv 1807.11626."""
    x = conv_bn(net, net.image(), rounded(32 * net.width), 3, 2)
    x = conv_bn(net, depthwise(net, x), rounded(16 * net.width), 1, act=None)
    for kernel, stride, expansion, channels, repeats, squeezed in stages:
        for i in range(repeats):
            x = inverted_residual(net, x, rounded(channels * net.width), expansion * x.channels,
                                  kernel, 1 if i else stride, "relu",
                                  squeeze=squeezed and round(x.channels / 4))  # fmt: skip
    return classifier(net, conv_bn(net, x, 1280, 1))
