"""A transformer encoder layer, ViT-Tiny and ConvNeXt-Tiny."""

from lwprof.zoo.attention import learned, post_norm_layer, pre_norm_layer
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network


@network("transformer_layer", 2017, "Attention Is All You Need, arXiv 1706.03762", 789_760, None,
         "torch.nn.TransformerEncoderLayer(256, 4, 1024)", resolution=None,
         classes=None)  # fmt: skip
def transformer_layer(net: Net, length: int = 128, dim: int = 256) -> Value:
    """One encoder layer on ``length`` tokens."""
    net.gain = 1.0
    return post_norm_layer(net, net.input((net.batch, length, dim)), dim // 64, 4 * dim)


@network("vit_tiny", 2020,
         "An Image is Worth 16x16 Words, arXiv 2010.11929; DeiT, arXiv 2012.12877", 5_717_416, None,
         "timm vit_tiny_patch16_224")  # fmt: skip
def vit(net: Net, dim: int = 192, depth: int = 12, heads: int = 3, patch: int = 16) -> Value:
    """Patches as tokens, a class token before them, ``depth`` layers."""
    net.gain = 1.0
    x = net.conv(net.image(), dim, patch, patch, pad=0, bias=True)
    x = net.transpose(net.reshape(x, (net.batch, dim, -1)), (0, 2, 1))
    token = learned(net, (1, 1, dim), "class_token")
    token = net.op("Expand", [token, net.integers((net.batch, 1, dim))], (net.batch, 1, dim))
    x = net.concat([token, x], axis=1)
    x = net.add(x, learned(net, (1, *x.shape[1:]), "positions"))
    for i in range(depth):
        with net.scope(f"layer{i}"):
            x = pre_norm_layer(net, x, heads, 4 * dim)
    x = net.slice(net.layer_norm(x), 0, 1, axis=1)
    return net.linear(net.reshape(x, (net.batch, dim)), net.classes)


@network("convnext_tiny", 2022, "A ConvNet for the 2020s, arXiv 2201.03545", 28_589_128, 4.456e9,
         "torchvision")  # fmt: skip
def convnext(
    net: Net, depths: tuple[int, ...] = (3, 3, 9, 3), dims: tuple[int, ...] = (96, 192, 384, 768)
) -> Value:
    """Figure 4 and Table 9 of the paper."""
    net.gain = 1.0
    x = net.image()
    for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
        if stage:
            x = net.conv(_norm(net, x), dim, 2, 2, pad=0, bias=True)
        else:
            x = _norm(net, net.conv(x, dim, 4, 4, pad=0, bias=True))
        for i in range(depth):
            with net.scope(f"stage{stage}.{i}"):
                x = _block(net, x)
    return net.linear(net.flatten(_norm(net, net.global_pool(x))), net.classes)


def _block(net: Net, x: Value) -> Value:
    y = net.conv(x, x.channels, 7, groups=x.channels, bias=True)
    y = net.layer_norm(net.transpose(y, (0, 2, 3, 1)))
    y = net.linear(net.act(net.linear(y, 4 * x.channels), "gelu"), x.channels)
    scale = net.parameter(net.draw((x.channels, 1, 1), 0.02, 0.3), "scale")
    y = net.transpose(y, (0, 3, 1, 2))
    return net.add(x, net.op("Mul", [y, scale], y.shape, 0.1 * y.power))


def _norm(net: Net, x: Value) -> Value:
    """Layer normalisation over channels."""
    y = net.layer_norm(net.transpose(x, (0, 2, 3, 1)))
    return net.transpose(y, (0, 3, 1, 2))
