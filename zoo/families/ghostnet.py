"""GhostNet: half of each layer's channels are cheap depthwise copies of the other half."""

import math

from lwprof.zoo.blocks import RESIDUAL, conv_bn, depthwise, rounded, squeeze_excite
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

# kernel, expanded channels, channels, squeeze-excite, stride
_LAYERS = (
    (3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2),
    (5, 120, 40, 1, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1), (5, 672, 160, 1, 2),
    (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1),
)  # fmt: skip


@network("ghostnet", 2020, "GhostNet: More Features from Cheap Operations, arXiv 1911.11907",
         5_182_508, 141e6, "definition of timm ghostnet_100; MACs of the paper",
         width=1.0)  # fmt: skip
def ghostnet(net: Net) -> Value:
    """Table 7 of the paper."""
    x = net.image()
    x = conv_bn(net, x, rounded(16 * net.width, 4), 3, 2)
    for kernel, hidden, out, squeezed, stride in _LAYERS:
        hidden, out = rounded(hidden * net.width, 4), rounded(out * net.width, 4)
        x = _bottleneck(net, x, hidden, out, kernel, stride, squeezed)
    x = net.global_pool(conv_bn(net, x, rounded(960 * net.width, 4), 1))
    x = net.act(net.conv(x, 1280, 1, bias=True), "relu")
    return net.linear(net.flatten(x), net.classes)


def ghost(net: Net, x: Value, out: int, act: str | None = "relu", gain: float = 1.0) -> Value:
    """Half of ``out`` by a 1×1 convolution, the other half by a depthwise 3×3 of those."""
    primary = conv_bn(net, x, math.ceil(out / 2), 1, act=act, gain=gain)
    cheap = depthwise(net, primary, 3, 1, act, gain)
    y = net.concat([primary, cheap])
    return net.slice(y, 0, out) if y.channels > out else y


def _bottleneck(
    net: Net, x: Value, hidden: int, out: int, kernel: int, stride: int, squeezed: int
) -> Value:
    y = ghost(net, x, hidden)
    if stride > 1:
        y = depthwise(net, y, kernel, stride, None)
    if squeezed:
        y = squeeze_excite(net, y, rounded(hidden / 4, 4), gate="hard_sigmoid")
    y = ghost(net, y, out, None, RESIDUAL)
    if stride > 1 or x.channels != out:
        x = conv_bn(net, depthwise(net, x, kernel, stride, None), out, 1, act=None)
    return net.add(x, y)
