"""Blocks of several layers that more than one family uses."""

from __future__ import annotations

from lwprof.zoo.builder import Net, Pair, Value

__all__ = [
    "RESIDUAL", "Net", "Pair", "Value", "channel_shuffle", "classifier", "conv_act", "conv_bn",
    "depthwise", "inverted_residual", "relu_conv_bn", "relu_separable_bn", "rounded",
    "squeeze_excite", "three_layer_classifier",
]  # fmt: skip

# Size of a residual branch beside its shortcut: small, as trained networks have it,
# so that errors of the estimates do not multiply with depth.
RESIDUAL = 0.3


def rounded(channels: float, divisor: int = 8) -> int:
    """``channels`` as a multiple of ``divisor``, never less than 90 % of it (MobileNet's rule)."""
    near = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * channels else near + divisor


def conv_bn(
    net: Net, x: Value, out: int, kernel: Pair = 3, stride: Pair = 1, act: str | None = "relu", *,
    groups: int = 1, pad: Pair | None = None, dilation: int = 1, bias: bool = False,
    gain: float = 1.0,
) -> Value:  # fmt: skip
    """Convolution, batch normalisation to size ``gain``, activation."""
    y = net.conv(x, out, kernel, stride, pad=pad, groups=groups, dilation=dilation, bias=bias)
    return net.act(net.batch_norm(y, gain), act)


def conv_act(
    net: Net, x: Value, out: int, kernel: Pair = 3, stride: Pair = 1, act: str = "relu", *,
    groups: int = 1, pad: Pair | None = None,
) -> Value:  # fmt: skip
    """Convolution with bias, activation: the layer of networks before batch normalisation."""
    return net.act(net.conv(x, out, kernel, stride, pad=pad, groups=groups, bias=True), act)


def depthwise(
    net: Net, x: Value, kernel: Pair = 3, stride: Pair = 1, act: str | None = "relu",
    gain: float = 1.0,
) -> Value:  # fmt: skip
    """One filter per channel, batch normalisation (scaled by ``gain``), activation."""
    return conv_bn(net, x, x.channels, kernel, stride, act, groups=x.channels, gain=gain)


def relu_conv_bn(net: Net, x: Value, out: int, kernel: int = 1, stride: int = 1) -> Value:
    """The order inside searched cells: ReLU, convolution, batch normalisation."""
    return net.batch_norm(net.conv(net.act(x, "relu"), out, kernel, stride))


def relu_separable_bn(
    net: Net, x: Value, out: int, kernel: int, stride: int = 1, dilation: int = 1
) -> Value:
    """ReLU, depthwise k×k, 1×1 to ``out`` channels, batch normalisation."""
    y = net.conv(net.act(x, "relu"), x.channels, kernel, stride, groups=x.channels,
                 dilation=dilation)  # fmt: skip
    return net.batch_norm(net.conv(y, out, 1))


def squeeze_excite(
    net: Net, x: Value, hidden: int, act: str = "relu", gate: str = "sigmoid"
) -> Value:
    """Channels scaled by a gate that two 1×1 convolutions draw from their means."""
    y = conv_act(net, net.global_pool(x), hidden, 1, act=act)
    return net.mul(x, conv_act(net, y, x.channels, 1, act=gate))


def inverted_residual(
    net: Net, x: Value, out: int, hidden: int, kernel: int = 3, stride: int = 1,
    act: str = "relu6", *, squeeze: int = 0, squeeze_act: str = "relu", gate: str = "sigmoid",
) -> Value:  # fmt: skip
    """1×1 up to ``hidden``, depthwise k×k, optional squeeze-excite, linear 1×1, shortcut."""
    y = x if hidden == x.channels else conv_bn(net, x, hidden, 1, act=act)
    y = depthwise(net, y, kernel, stride, act)
    if squeeze:
        y = squeeze_excite(net, y, squeeze, squeeze_act, gate)
    if stride > 1 or out != x.channels:
        return conv_bn(net, y, out, 1, act=None)
    return net.add(x, conv_bn(net, y, out, 1, act=None, gain=RESIDUAL))


def channel_shuffle(net: Net, x: Value, groups: int) -> Value:
    """Channel i of each group to group i: reshape, transpose, reshape."""
    n, c, h, w = x.shape
    y = net.transpose(net.reshape(x, (n, groups, c // groups, h, w)), (0, 2, 1, 3, 4))
    return net.reshape(y, (n, c, h, w))


def classifier(net: Net, x: Value) -> Value:
    """Global average pooling and one fully connected layer."""
    return net.linear(net.flatten(net.global_pool(x)), net.classes)


def three_layer_classifier(net: Net, x: Value, hidden: int = 4096) -> Value:
    """Three fully connected layers on the flattened map, as AlexNet and VGG end."""
    x = net.flatten(x)
    for _ in range(2):
        x = net.act(net.linear(x, hidden), "relu")
    return net.linear(x, net.classes)
