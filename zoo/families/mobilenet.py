"""MobileNet: V1's separable convolutions, V2's inverted residuals, V3's searched ones."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, depthwise, inverted_residual, rounded
from lwprof.zoo.registry import network

# (channels, stride) of each separable convolution
_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2),
       (1024, 1))  # fmt: skip
# expansion, channels, repeats, stride
_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
_RE, _HS = "relu", "hard_swish"
# kernel, expanded channels, channels, squeeze-excite, activation, stride
_V3_LARGE = (
    (3, 16, 16, 0, _RE, 1), (3, 64, 24, 0, _RE, 2), (3, 72, 24, 0, _RE, 1),
    (5, 72, 40, 1, _RE, 2), (5, 120, 40, 1, _RE, 1), (5, 120, 40, 1, _RE, 1),
    (3, 240, 80, 0, _HS, 2), (3, 200, 80, 0, _HS, 1), (3, 184, 80, 0, _HS, 1),
    (3, 184, 80, 0, _HS, 1), (3, 480, 112, 1, _HS, 1), (3, 672, 112, 1, _HS, 1),
    (5, 672, 160, 1, _HS, 2), (5, 960, 160, 1, _HS, 1), (5, 960, 160, 1, _HS, 1),
)  # fmt: skip
_V3_SMALL = (
    (3, 16, 16, 1, _RE, 2), (3, 72, 24, 0, _RE, 2), (3, 88, 24, 0, _RE, 1),
    (5, 96, 40, 1, _HS, 2), (5, 240, 40, 1, _HS, 1), (5, 240, 40, 1, _HS, 1),
    (5, 120, 48, 1, _HS, 1), (5, 144, 48, 1, _HS, 1), (5, 288, 96, 1, _HS, 2),
    (5, 576, 96, 1, _HS, 1), (5, 576, 96, 1, _HS, 1),
)  # fmt: skip


@network("mobilenet_v1", width=1.0)
@network("mobilenet_v1_025_96", width=0.25, resolution=96, classes=2)
def mobilenet_v1(net: Net) -> Value:
    """Table 1 of arXiv 1704.04861."""
    x = conv_bn(net, net.image(), int(32 * net.width), 3, 2)
    for channels, stride in _V1:
        x = conv_bn(net, depthwise(net, x, 3, stride), int(channels * net.width), 1)
    return classifier(net, x)


@network("mobilenet_v2", width=1.0)
def mobilenet_v2(net: Net) -> Value:
    """Table 2 of arXiv 1801.04381."""
    x = conv_bn(net, net.image(), rounded(32 * net.width), 3, 2, "relu6")
    for expansion, channels, repeats, stride in _V2:
        for i in range(repeats):
            out = rounded(channels * net.width)
            x = inverted_residual(net, x, out, expansion * x.channels, 3, 1 if i else stride)
    return classifier(net, conv_bn(net, x, rounded(1280 * max(1.0, net.width)), 1, act="relu6"))


@network("mobilenet_v3_large", width=1.0, layers=_V3_LARGE, head=1280)
@network("mobilenet_v3_small", width=1.0, layers=_V3_SMALL, head=1024)
def mobilenet_v3(
    net: Net, layers: tuple[tuple[int, int, int, int, str, int], ...], head: int
) -> Value:
    """Tables 1 and 2 of arXiv 1905.02244."""
    net.eps = 1e-3
    x = conv_bn(net, net.image(), rounded(16 * net.width), 3, 2, _HS)
    for kernel, hidden, out, squeezed, act, stride in layers:
        hidden = rounded(hidden * net.width)
        x = inverted_residual(net, x, rounded(out * net.width), hidden, kernel, stride, act,
                              squeeze=squeezed and rounded(hidden // 4),
                              gate="hard_sigmoid")  # fmt: skip
    x = conv_bn(net, x, 6 * x.channels, 1, act=_HS)
    x = net.linear(net.flatten(net.global_pool(x)), rounded(head * net.width))
    return net.linear(net.act(x, _HS), net.classes)
