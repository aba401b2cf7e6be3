"""MobileViT: inverted residuals, and transformers over pixels at equal places of 2×2 patches."""

from lwprof.errors import ModelError
from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual
from lwprof.zoo.families.transformers import pre_norm_layer
from lwprof.zoo.registry import network

_PATCH, _HEADS = 2, 4


@network("mobilevit_s", resolution=256, channels=(32, 64, 96, 128, 160, 640), dims=(144, 192, 240))
@network("mobilevit_xs", resolution=256, channels=(32, 48, 64, 80, 96, 384), dims=(96, 120, 144))
@network("mobilevit_xxs", resolution=256, channels=(16, 24, 48, 64, 80, 320), dims=(64, 80, 96),
         expansion=2)  # fmt: skip
def mobilevit(
    net: Net, channels: tuple[int, ...], dims: tuple[int, ...], expansion: int = 4
) -> Value:
    """Table 4 of arXiv 2110.02178."""
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
        x = _block(net, reduced(x, out, 2), dim, depth)
    return classifier(net, conv_bn(net, x, channels[5], 1, act="swish"))


def _block(net: Net, x: Value, dim: int, depth: int) -> Value:
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
