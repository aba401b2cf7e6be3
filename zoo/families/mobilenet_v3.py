"""MobileNetV3: searched inverted residuals with squeeze-excite and hard-swish."""

from lwprof.zoo.blocks import conv_bn, inverted_residual, rounded
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = "Searching for MobileNetV3, arXiv 1905.02244"
_RE, _HS = "relu", "hard_swish"
# kernel, expanded channels, channels, squeeze-excite, activation, stride
_LARGE = (
    (3, 16, 16, 0, _RE, 1), (3, 64, 24, 0, _RE, 2), (3, 72, 24, 0, _RE, 1),
    (5, 72, 40, 1, _RE, 2), (5, 120, 40, 1, _RE, 1), (5, 120, 40, 1, _RE, 1),
    (3, 240, 80, 0, _HS, 2), (3, 200, 80, 0, _HS, 1), (3, 184, 80, 0, _HS, 1),
    (3, 184, 80, 0, _HS, 1), (3, 480, 112, 1, _HS, 1), (3, 672, 112, 1, _HS, 1),
    (5, 672, 160, 1, _HS, 2), (5, 960, 160, 1, _HS, 1), (5, 960, 160, 1, _HS, 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, 1, _RE, 2), (3, 72, 24, 0, _RE, 2), (3, 88, 24, 0, _RE, 1),
    (5, 96, 40, 1, _HS, 2), (5, 240, 40, 1, _HS, 1), (5, 240, 40, 1, _HS, 1),
    (5, 120, 48, 1, _HS, 1), (5, 144, 48, 1, _HS, 1), (5, 288, 96, 1, _HS, 2),
    (5, 576, 96, 1, _HS, 1), (5, 576, 96, 1, _HS, 1),
)  # fmt: skip


@network("mobilenet_v3_large", 2019, _PAPER, 5_483_032, 0.217e9, "torchvision", width=1.0,
         layers=_LARGE, head=1280)  # fmt: skip
@network("mobilenet_v3_small", 2019, _PAPER, 2_542_856, 0.057e9, "torchvision", width=1.0,
         layers=_SMALL, head=1024)  # fmt: skip
def mobilenet_v3(
    net: Net, layers: tuple[tuple[int, int, int, int, str, int], ...], head: int
) -> Value:
    """Tables 1 and 2 of the paper."""
    net.eps = 1e-3
    x = net.image()
    x = conv_bn(net, x, rounded(16 * net.width), 3, 2, _HS)
    for kernel, hidden, out, squeezed, act, stride in layers:
        hidden = rounded(hidden * net.width)
        x = inverted_residual(net, x, rounded(out * net.width), hidden, kernel, stride, act,
                              squeeze=squeezed and rounded(hidden // 4),
                              gate="hard_sigmoid")  # fmt: skip
    x = conv_bn(net, x, 6 * x.channels, 1, act=_HS)
    x = net.linear(net.flatten(net.global_pool(x)), rounded(head * net.width))
    return net.linear(net.act(x, _HS), net.classes)
