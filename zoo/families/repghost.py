"""RepGhost: ghost features by re-parameterisation instead of concatenation."""

from dataclasses import replace

from lwprof.zoo.blocks import RESIDUAL, conv_bn, depthwise, rounded, squeeze_excite
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network
from lwprof.zoo.reparameterisation import fold, identity, merge

_PAPER = "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization, arXiv 2211.06088"
# kernel, expanded channels, channels, squeeze-excite, stride
_LAYERS = (
    (3, 8, 16, 0, 1), (3, 24, 24, 0, 2), (3, 36, 24, 0, 1), (5, 36, 40, 1, 2), (5, 60, 40, 1, 1),
    (3, 120, 80, 0, 2), (3, 100, 80, 0, 1), (3, 120, 80, 0, 1), (3, 120, 80, 0, 1),
    (3, 240, 112, 1, 1), (3, 336, 112, 1, 1), (5, 336, 160, 1, 2), (5, 480, 160, 0, 1),
    (5, 480, 160, 1, 1), (5, 480, 160, 0, 1), (5, 480, 160, 1, 1),
)  # fmt: skip


@network("repghostnet", 2022, _PAPER, 4_070_000, None,
         "timm repghostnet_100, training form, three digits", width=1.0)  # fmt: skip
@network("repghostnet_deploy", 2022, _PAPER, 4_060_000, 142e6,
         "README of ChengpengChen/RepGhost, 1.0×, three digits", width=1.0,
         deploy=True)  # fmt: skip
def repghostnet(net: Net, deploy: bool = False) -> Value:
    """Table 1 of the paper."""
    x = net.image()
    x = conv_bn(net, x, rounded(16 * net.width, 4), 3, 2)
    for i, (kernel, hidden, out, squeezed, stride) in enumerate(_LAYERS):
        hidden, out = rounded(hidden * net.width, 4), rounded(out * net.width, 4)
        with net.scope(f"block{i}"):
            x = _bottleneck(net, x, hidden, out, kernel, stride, squeezed, deploy)
    x = net.global_pool(conv_bn(net, x, rounded(960 * net.width, 4), 1))
    x = net.act(net.conv(x, 1280, 1, bias=True), "relu")
    return net.linear(net.flatten(x), net.classes)


def _bottleneck(
    net: Net, x: Value, hidden: int, out: int, kernel: int, stride: int, squeezed: int, deploy: bool
) -> Value:
    y = module(net, x, hidden, "relu", deploy)
    if stride > 1:
        y = depthwise(net, y, kernel, stride, None)
    if squeezed:
        y = squeeze_excite(net, y, rounded(hidden / 4, 4), gate="hard_sigmoid")
    same = stride == 1 and x.channels == out
    y = module(net, y, out, None, deploy, RESIDUAL if same else 1.0)
    if not same:
        x = conv_bn(net, depthwise(net, x, kernel, stride, None), out, 1, act=None)
    return net.add(y, x)


def module(net: Net, x: Value, out: int, act: str | None, deploy: bool, gain: float = 1.0) -> Value:
    """1×1, then depthwise 3×3 beside a normalised identity, added; ReLU after the addition."""
    x = conv_bn(net, x, out, 1, act=act)
    convolved = Value("", (x.shape[0], out), net.gain * x.power)
    weight = net.draw_weight((out, 1, 3, 3))
    norms = [net.draw_norm(value, 0.7 * gain) for value in (convolved, x)]
    if deploy and net.weights.constant:
        y = net.conv_with(x, weight, norms[0].beta, groups=out)
    elif deploy:
        parts = (weight, identity(out, out))
        kernel, bias = merge([fold(w, n) for w, n in zip(parts, norms, strict=True)], 3)
        y = net.conv_with(x, kernel, bias, groups=out)
    else:
        y = net.norm_with(net.conv_with(x, weight, groups=out), norms[0])
        y = net.add(y, net.norm_with(x, norms[1]))
    return net.act(replace(y, power=gain**2, mean=0.0), act)
