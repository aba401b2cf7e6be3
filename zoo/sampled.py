"""Networks drawn at random: what a device's table is built from beside the published ones.

``sampled_17`` is the same network everywhere. Each has blocks of one to three kinds behind each
other, with channels, kernels, strides, activations and resolutions that published networks do not
happen to have, so that a cost model fitted on them interpolates where it would else extrapolate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from lwprof.zoo.blocks import (
    RESIDUAL,
    Net,
    Value,
    channel_shuffle,
    classifier,
    conv_act,
    conv_bn,
    depthwise,
    inverted_residual,
    relu_separable_bn,
    three_layer_classifier,
)

_ACTIVATIONS = ("relu", "relu", "relu", "relu6", "hard_swish", "swish", "sigmoid", None)
_RESOLUTIONS = (96, 112, 128, 160, 192, 224, 224, 224, 256)
_MOST_MACS = 2.5e8
_MOST_ELEMENTS = 1.5e6


def sampled(net: Net, draw: int) -> Value:
    """The network number ``draw``.

    Args:
        net: where it is drawn; its resolution and classes are drawn too.
    """
    rng = random.Random(draw)
    net.resolution = rng.choice(_RESOLUTIONS)
    x = _stem(net, rng)
    kinds = rng.sample(sorted(_BLOCKS), rng.choice((1, 2, 2, 3)))
    act = rng.choice(_ACTIVATIONS) or "relu"
    for number in range(rng.randint(6, 14)):
        with net.scope(f"block{number}"):
            if x.shape[2] >= 8 and number and rng.random() < 0.3:
                x = _reduce(net, rng, x)
            x = _BLOCKS[rng.choice(kinds)](net, rng, x, act)
    return _head(net, rng, x)


def _stem(net: Net, rng: random.Random) -> Value:
    kernel, stride = rng.choice(((3, 2), (3, 2), (7, 2), (11, 4), (3, 1), (5, 2)))
    out = rng.choice((8, 16, 24, 32, 32, 40, 64, 96)) if stride > 1 else rng.choice((8, 16, 32))
    x = conv_bn(net, net.image(), out, kernel, stride, rng.choice(_ACTIVATIONS))
    if stride == 1 or x.shape[2] > 100 or rng.random() < 0.4:
        x = net.pool(x, rng.choice(("max", "max", "avg")), 3, 2, 1)
    return x


def _channels(rng: random.Random, x: Value, macs_each: float) -> int:
    """Channels of a layer: any number, mostly a multiple of 8; bounded by MACs and memory.

    Args:
        macs_each: MACs for each channel and position.
    """
    positions = x.shape[2] * x.shape[3]
    most = min(_MOST_MACS / positions / macs_each, _MOST_ELEMENTS / positions, 2048)
    drawn = math.exp(rng.uniform(math.log(8), math.log(max(most, 12))))
    step = rng.choice((8, 8, 16, 16, 32, 2, 1))
    return max(step, round(drawn / step) * step, 4)


def _reduce(net: Net, rng: random.Random, x: Value) -> Value:
    kind = rng.choice(("max", "avg", "conv", "depthwise"))
    if kind == "conv":
        return conv_bn(net, x, _channels(rng, x, x.channels * 9 / 4), 3, 2)
    if kind == "depthwise":
        return depthwise(net, x, rng.choice((3, 5, 7)), 2)
    size = rng.choice((2, 3))
    return net.pool(x, kind, size, 2, size // 2)


def _plain(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    kernel = rng.choice((1, 1, 3, 3, 3, 5))
    y = conv_act(net, x, _channels(rng, x, x.channels * kernel**2), kernel, act=act)
    if rng.random() < 0.12:
        y = net.op("LRN", [y], y.shape, size=5, alpha=1e-4, beta=0.75)
    return y


def _basic(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    kernel = rng.choice((1, 3, 3, 3))
    hidden = _channels(rng, x, x.channels * kernel**2)
    y = conv_bn(net, x, hidden, kernel, act=act)
    y = conv_bn(net, y, x.channels, kernel, act=None, gain=RESIDUAL)
    return net.act(net.add(x, y), act)


def _bottleneck(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    out = _channels(rng, x, x.channels)
    hidden = max(8, out // rng.choice((2, 4, 4)) // 8 * 8)
    groups = rng.choice((1, 1, 1, 8)) if hidden % 8 == 0 else 1
    y = conv_bn(net, x, hidden, 1, act=act)
    y = conv_bn(net, y, hidden, 3, act=act, groups=groups)
    y = conv_bn(net, y, out, 1, act=None, gain=RESIDUAL)
    short = x if x.channels == out else conv_bn(net, x, out, 1, act=None)
    return net.act(net.add(short, y), act)


def _inverted(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    out = x.channels if rng.random() < 0.5 else _channels(rng, x, x.channels * 4)
    hidden = min(x.channels * rng.choice((1, 2, 3, 4, 6)), 1600)
    squeeze = max(4, hidden // rng.choice((4, 16, 24))) if rng.random() < 0.4 else 0
    gate = rng.choice(("sigmoid", "hard_sigmoid"))
    return inverted_residual(net, x, out, hidden, rng.choice((3, 3, 5, 7)), 1, act,
                             squeeze=squeeze, gate=gate)  # fmt: skip


def _separable(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    out = _channels(rng, x, x.channels)
    if rng.random() < 0.3:
        return relu_separable_bn(net, x, out, rng.choice((3, 5, 7)))
    y = depthwise(net, x, rng.choice((3, 3, 5)), 1, act)
    return conv_bn(net, y, out, 1, act=act)


def _branches(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    parts = []
    for kernel in rng.sample((1, 1, 3, 3, 5, 7), rng.choice((2, 3, 4))):
        y = x
        if kernel > 1:
            y = conv_act(net, y, max(8, _channels(rng, x, x.channels) // 4), 1, act=act)
        out = max(8, _channels(rng, y, y.channels * kernel**2) // 4)
        parts.append(conv_act(net, y, out, kernel, act=act))
    if rng.random() < 0.5:
        pooled = net.pool(x, rng.choice(("max", "avg")), 3, 1, 1)
        parts.append(conv_act(net, pooled, max(8, _channels(rng, x, x.channels) // 4), 1, act=act))
    return net.concat(parts)


def _dense(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    growth = rng.choice((12, 16, 24, 32, 48))
    y = net.act(net.batch_norm(x), act)
    y = net.act(net.batch_norm(net.conv(y, 4 * growth, 1)), act)
    x = net.concat([x, net.conv(y, growth, 3)])
    return conv_bn(net, x, x.channels // 2, 1, act=act) if x.channels > 512 else x


def _shuffle(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    groups = rng.choice((2, 2, 3, 4))
    width = max(8, _channels(rng, x, x.channels) // groups // 2) * groups
    x = x if x.channels == width else conv_bn(net, x, width, 1, act=act)
    if groups == 2:
        left, y = net.split(x, (width // 2, width // 2))
        y = conv_bn(net, y, width // 2, 1, act=act)
        y = conv_bn(net, depthwise(net, y, 3, 1, None), width // 2, 1, act=act)
        return channel_shuffle(net, net.concat([left, y]), 2)
    y = channel_shuffle(net, conv_bn(net, x, width, 1, act=act, groups=groups), groups)
    y = conv_bn(net, depthwise(net, y, 3, 1, None), width, 1, act=None, groups=groups)
    return net.act(net.add(x, y), act)


def _tokens(net: Net, rng: random.Random, x: Value, act: str) -> Value:
    """A transformer's block over the positions of a small map."""
    heads = rng.choice((2, 4))
    size = heads * rng.choice((16, 24, 32, 48))
    while x.shape[2] > 16:
        x = net.pool(x, "avg", 2, 2)
    n, _, h, w = (y := conv_bn(net, x, size, 1, act=act)).shape
    t = net.transpose(net.reshape(y, (n, size, h * w)), (0, 2, 1))
    parts = [net.linear(net.layer_norm(t), size) for _ in range(3)]
    split = [net.transpose(net.reshape(p, (n, h * w, heads, size // heads)), (0, 2, 1, 3))
             for p in parts]  # fmt: skip
    key = net.transpose(split[1], (0, 1, 3, 2))
    scores = net.op("MatMul", [split[0], key], (n, heads, h * w, h * w))
    scores = net.op("Softmax", [scores], scores.shape, axis=-1)
    mixed = net.op("MatMul", [scores, split[2]], split[2].shape)
    mixed = net.reshape(net.transpose(mixed, (0, 2, 1, 3)), (n, h * w, size))
    t = net.add(t, net.linear(mixed, size))
    u = net.linear(net.layer_norm(t), size * rng.choice((2, 4)))
    t = net.add(t, net.linear(net.act(u, rng.choice(("gelu", "swish"))), size))
    return net.reshape(net.transpose(t, (0, 2, 1)), (n, size, h, w))


def _head(net: Net, rng: random.Random, x: Value) -> Value:
    net.classes = rng.choice((10, 100, 1000, 1000))
    kind = rng.random()
    if kind < 0.15 and x.channels * x.shape[2] * x.shape[3] <= 12_000:
        return three_layer_classifier(net, x, rng.choice((512, 1024, 2048, 4096)))
    if kind < 0.3:
        return net.op("Softmax", [y := classifier(net, x)], y.shape, axis=-1)
    if kind < 0.5:
        x = conv_act(net, x, _channels(rng, x, x.channels), 1)
    return classifier(net, x)


_BLOCKS: dict[str, Callable[[Net, random.Random, Value, str], Value]] = {
    "basic": _basic, "bottleneck": _bottleneck, "branches": _branches, "dense": _dense,
    "inverted": _inverted, "plain": _plain, "separable": _separable, "shuffle": _shuffle,
    "tokens": _tokens,
}  # fmt: skip
