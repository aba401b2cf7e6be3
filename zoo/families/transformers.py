"""Attention; a transformer encoder layer, ViT-Tiny, ConvNeXt-Tiny and MobileViT.

Tokens are (batch, length, width).
"""

from lwprof.errors import ModelError
from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual
from lwprof.zoo.registry import network

_PATCH, _HEADS = 2, 4  # of MobileViT


def attention(net: Net, x: Value, heads: int) -> Value:
    """Multi-head self-attention: one product for q, k and v, softmax(q kᵀ / √d) v, one product."""
    batch, length, width = x.shape
    size = width // heads
    split = net.split(net.linear(x, 3 * width), (width, width, width), axis=2)
    q, k, v = (net.reshape(part, (batch, length, heads, size)) for part in split)
    q, v = net.transpose(q, (0, 2, 1, 3)), net.transpose(v, (0, 2, 1, 3))
    k = net.transpose(k, (0, 2, 3, 1))
    scores = net.op("MatMul", [q, k], (batch, heads, length, length))
    scores = net.op("Mul", [scores, net.number(size**-0.5)], scores.shape)
    weights = net.op("Softmax", [scores], scores.shape, 1 / length, axis=-1)
    y = net.op("MatMul", [weights, v], v.shape, 0.5 * v.power)
    return net.linear(net.reshape(net.transpose(y, (0, 2, 1, 3)), x.shape), width)


def feed_forward(net: Net, x: Value, hidden: int, act: str) -> Value:
    """Two fully connected layers on each token."""
    return net.linear(net.act(net.linear(x, hidden), act), x.shape[-1])


def pre_norm_layer(
    net: Net, x: Value, heads: int, hidden: int, act: str = "gelu", eps: float = 1e-6
) -> Value:
    """Transformer layer that normalises before attention and before the fully connected part."""
    x = net.add(x, attention(net, net.layer_norm(x, eps), heads))
    return net.add(x, feed_forward(net, net.layer_norm(x, eps), hidden, act))


def post_norm_layer(net: Net, x: Value, heads: int, hidden: int, act: str = "relu") -> Value:
    """Transformer layer of the first paper: normalises each sum."""
    x = net.layer_norm(net.add(x, attention(net, x, heads)), 1e-5)
    return net.layer_norm(net.add(x, feed_forward(net, x, hidden, act)), 1e-5)


@network("transformer_layer", resolution=None, classes=None)
def transformer_layer(net: Net, length: int = 128, dim: int = 256) -> Value:
    """One encoder layer of arXiv 1706.03762 on ``length`` tokens."""
    net.gain = 1.0
    return post_norm_layer(net, net.input((net.batch, length, dim)), dim // 64, 4 * dim)


@network("vit_tiny")
def vit(net: Net, dim: int = 192, depth: int = 12, heads: int = 3, patch: int = 16) -> Value:
    """arXiv 2010.11929: patches as tokens, a class token before them, ``depth`` layers."""
    net.gain = 1.0
    x = net.conv(net.image(), dim, patch, patch, pad=0, bias=True)
    x = net.transpose(net.reshape(x, (net.batch, dim, -1)), (0, 2, 1))
    shape = (net.batch, 1, dim)
    token = net.op(
        "Expand", [_learned(net, (1, 1, dim), "class_token"), net.integers(shape)], shape
    )
    x = net.concat([token, x], axis=1)
    x = net.add(x, _learned(net, (1, *x.shape[1:]), "positions"))
    for i in range(depth):
        with net.scope(f"layer{i}"):
            x = pre_norm_layer(net, x, heads, 4 * dim)
    x = net.slice(net.layer_norm(x), 0, 1, axis=1)
    return net.linear(net.reshape(x, (net.batch, dim)), net.classes)


def _learned(net: Net, shape: tuple[int, ...], label: str) -> Value:
    """A learned tensor that is an operand itself."""
    return Value(net.parameter(net.draw(shape, 0.02), label), shape, 4e-4)


@network("convnext_tiny")
def convnext(
    net: Net, depths: tuple[int, ...] = (3, 3, 9, 3), dims: tuple[int, ...] = (96, 192, 384, 768)
) -> Value:
    """Figure 4 and Table 9 of arXiv 2201.03545."""
    net.gain = 1.0
    x = net.image()
    for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
        if stage:
            x = net.conv(_norm(net, x), dim, 2, 2, pad=0, bias=True)
        else:
            x = _norm(net, net.conv(x, dim, 4, 4, pad=0, bias=True))
        for i in range(depth):
            with net.scope(f"stage{stage}.{i}"):
                x = convnext_block(net, x)
    return net.linear(net.flatten(_norm(net, net.global_pool(x))), net.classes)


def convnext_block(net: Net, x: Value) -> Value:
    """Depthwise 7×7, then the transformer's fully connected part on channels, scaled."""
    y = net.conv(x, x.channels, 7, groups=x.channels, bias=True)
    y = net.layer_norm(net.transpose(y, (0, 2, 3, 1)))
    y = net.transpose(feed_forward(net, y, 4 * x.channels, "gelu"), (0, 3, 1, 2))
    scale = net.parameter(net.draw((x.channels, 1, 1), 0.02, 0.3), "scale")
    return net.add(x, net.op("Mul", [y, scale], y.shape, 0.1 * y.power))


def _norm(net: Net, x: Value) -> Value:
    """Layer normalisation over channels."""
    return net.transpose(net.layer_norm(net.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))


@network("mobilevit_s", resolution=256, channels=(32, 64, 96, 128, 160, 640), dims=(144, 192, 240))
@network("mobilevit_xs", resolution=256, channels=(32, 48, 64, 80, 96, 384), dims=(96, 120, 144))
@network("mobilevit_xxs", resolution=256, channels=(16, 24, 48, 64, 80, 320), dims=(64, 80, 96),
         expansion=2)  # fmt: skip
def mobilevit(
    net: Net, channels: tuple[int, ...], dims: tuple[int, ...], expansion: int = 4
) -> Value:
    """Table 4 of arXiv 2110.02178: inverted residuals, then transformers between convolutions."""
    if net.resolution % (32 * _PATCH):
        raise ModelError(f"{net.resolution} pixels do not divide into MobileViT's patches: "
                         f"choose a multiple of {32 * _PATCH}")  # fmt: skip
    x = conv_bn(net, net.image(), 16, 3, 2, "swish")

    def reduced(x: Value, out: int, stride: int) -> Value:
        return inverted_residual(net, x, out, expansion * x.channels, 3, stride, "swish")

    x = reduced(x, channels[0], 1)
    for stride in (2, 1, 1):
        x = reduced(x, channels[1], stride)
    for out, dim, depth in zip(channels[2:5], dims, (2, 4, 3), strict=True):
        x = mobilevit_block(net, reduced(x, out, 2), dim, depth)
    return classifier(net, conv_bn(net, x, channels[5], 1, act="swish"))


def mobilevit_block(net: Net, x: Value, dim: int, depth: int) -> Value:
    """Figure 1b of the paper: attention over pixels at equal places of 2×2 patches."""
    y = net.conv(conv_bn(net, x, x.channels, 3, act="swish"), dim, 1)
    batch, _, height, width = y.shape
    rows, columns = height // _PATCH, width // _PATCH
    y = net.reshape(y, (batch, dim, rows, _PATCH, columns, _PATCH))
    y = net.transpose(y, (0, 3, 5, 2, 4, 1))
    y = net.reshape(y, (batch * _PATCH**2, rows * columns, dim))
    for _ in range(depth):
        y = pre_norm_layer(net, y, _HEADS, 2 * dim, "swish", 1e-5)
    y = net.reshape(net.layer_norm(y, 1e-5), (batch, _PATCH, _PATCH, rows, columns, dim))
    y = net.reshape(net.transpose(y, (0, 5, 3, 1, 4, 2)), (batch, dim, height, width))
    y = conv_bn(net, y, x.channels, 1, act="swish")
    return conv_bn(net, net.concat([x, y]), x.channels, 3, act="swish")
