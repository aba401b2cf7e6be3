"""ResNet: residual stages of two 3×3, or of 1×1, 3×3, 1×1 (v1.5: the stride is in the 3×3)."""

from collections.abc import Callable, Sequence

from lwprof.zoo.blocks import RESIDUAL, Net, Value, classifier, conv_bn
from lwprof.zoo.registry import network


@network("resnet18", width=1.0, depths=(2, 2, 2, 2))
@network("resnet34", width=1.0, depths=(3, 4, 6, 3))
@network("resnet50", width=1.0, depths=(3, 4, 6, 3), bottleneck=True)
@network("resnet101", width=1.0, depths=(3, 4, 23, 3), bottleneck=True)
def resnet(net: Net, depths: Sequence[int], bottleneck: bool = False) -> Value:
    """Table 1 of arXiv 1512.03385."""
    x = stem(net, net.width)
    return classifier(net, stages(net, x, depths, bottleneck, int(64 * net.width))[-1])


def stem(net: Net, width: float = 1.0) -> Value:
    """The image at a quarter of its resolution, in 64 channels."""
    return net.pool(conv_bn(net, net.image(), int(64 * width), 7, 2), "max", 3, 2, 1)


def stages(
    net: Net, x: Value, depths: Sequence[int], bottleneck: bool, channels: int = 64,
    layer: Callable[..., Value] = conv_bn,
) -> list[Value]:  # fmt: skip
    """The results of the stages; all but the first halve the resolution and double channels."""
    results = []
    for stage, depth in enumerate(depths):
        for i in range(depth):
            with net.scope(f"layer{stage + 1}.{i}"):
                stride = 2 if stage and i == 0 else 1
                x = block(net, x, channels << stage, stride, bottleneck, layer)
        results.append(x)
    return results


def block(
    net: Net, x: Value, channels: int, stride: int, bottleneck: bool,
    layer: Callable[..., Value] = conv_bn,
) -> Value:  # fmt: skip
    """Figure 5 of the paper; ``layer`` takes the arguments of `blocks.conv_bn`."""
    out = 4 * channels if bottleneck else channels
    if bottleneck:
        y = layer(net, layer(net, x, channels, 1), channels, 3, stride)
    else:
        y = layer(net, x, out, 3, stride)
    y = layer(net, y, out, 1 if bottleneck else 3, act=None, gain=RESIDUAL)
    if stride > 1 or x.channels != out:
        x = layer(net, x, out, 1, stride, act=None)
    return net.act(net.add(y, x), "relu")
