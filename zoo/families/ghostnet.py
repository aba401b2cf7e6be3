"""GhostNet and RepGhost: half of the features are cheap depthwise copies of the other half.

GhostNet concatenates the copies; RepGhost adds them, and its branches merge for deployment.
"""

import math
from collections.abc import Callable

from lwprof.zoo.blocks import RESIDUAL, conv_act, conv_bn, depthwise, rounded, squeeze_excite
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network
from lwprof.zoo.reparameterisation import summed

# kernel, GhostNet's expanded channels, RepGhost's, channels, squeeze-excite, stride
_LAYERS = (
    (3, 16, 8, 16, 0, 1), (3, 48, 24, 24, 0, 2), (3, 72, 36, 24, 0, 1), (5, 72, 36, 40, 1, 2),
    (5, 120, 60, 40, 1, 1), (3, 240, 120, 80, 0, 2), (3, 200, 100, 80, 0, 1),
    (3, 184, 120, 80, 0, 1), (3, 184, 120, 80, 0, 1), (3, 480, 240, 112, 1, 1),
    (3, 672, 336, 112, 1, 1), (5, 672, 336, 160, 1, 2), (5, 960, 480, 160, 0, 1),
    (5, 960, 480, 160, 1, 1), (5, 960, 480, 160, 0, 1), (5, 960, 480, 160, 1, 1),
)  # fmt: skip
# (input, output channels, activation, size of the result) → the module's result
_Module = Callable[[Value, int, str | None, float], Value]


@network("ghostnet", width=1.0)
def ghostnet(net: Net) -> Value:
    """Table 7 of arXiv 1911.11907."""
    return _stacked(net, 1, lambda x, out, act, gain: ghost(net, x, out, act, gain))


@network("repghostnet", width=1.0)
@network("repghostnet_deploy", width=1.0, deploy=True)
def repghostnet(net: Net, deploy: bool = False) -> Value:
    """Table 1 of arXiv 2211.06088."""
    return _stacked(net, 2, lambda x, out, act, gain: repghost(net, x, out, act, deploy, gain))


def _stacked(net: Net, column: int, module: _Module) -> Value:
    x = conv_bn(net, net.image(), rounded(16 * net.width, 4), 3, 2)
    for i, layer in enumerate(_LAYERS):
        kernel, _, _, out, squeezed, stride = layer
        hidden, out = (rounded(channels * net.width, 4) for channels in (layer[column], out))
        with net.scope(f"block{i}"):
            x = _bottleneck(net, x, hidden, out, kernel, stride, squeezed, module)
    x = net.global_pool(conv_bn(net, x, rounded(960 * net.width, 4), 1))
    return net.linear(net.flatten(conv_act(net, x, 1280, 1)), net.classes)


def _bottleneck(
    net: Net, x: Value, hidden: int, out: int, kernel: int, stride: int, squeezed: int,
    module: _Module,
) -> Value:  # fmt: skip
    y = module(x, hidden, "relu", 1.0)
    if stride > 1:
        y = depthwise(net, y, kernel, stride, None)
    if squeezed:
        y = squeeze_excite(net, y, rounded(hidden / 4, 4), gate="hard_sigmoid")
    same = stride == 1 and x.channels == out
    y = module(y, out, None, RESIDUAL if same else 1.0)
    if not same:
        x = conv_bn(net, depthwise(net, x, kernel, stride, None), out, 1, act=None)
    return net.add(y, x)


def ghost(net: Net, x: Value, out: int, act: str | None = "relu", gain: float = 1.0) -> Value:
    """Half of ``out`` by a 1×1 convolution, the other half by a depthwise 3×3 of those."""
    primary = conv_bn(net, x, math.ceil(out / 2), 1, act=act, gain=gain)
    y = net.concat([primary, depthwise(net, primary, 3, 1, act, gain)])
    return net.slice(y, 0, out) if y.channels > out else y


def repghost(
    net: Net, x: Value, out: int, act: str | None, deploy: bool, gain: float = 1.0
) -> Value:
    """1×1, then depthwise 3×3 beside a normalised identity, added; ReLU after the addition."""
    x, size = conv_bn(net, x, out, 1, act=act), 0.7 * gain
    weight = net.draw_weight((out, 1, 3, 3))
    return net.act(summed(net, x, [weight], [size], size, groups=out, deploy=deploy), act)
