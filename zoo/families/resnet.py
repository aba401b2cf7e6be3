"""ResNet: residual stages of two 3×3, or of 1×1, 3×3, 1×1 (v1.5: the stride is in the 3×3)."""

from lwprof.zoo.blocks import RESIDUAL, classifier, conv_bn
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = "Deep Residual Learning for Image Recognition, arXiv 1512.03385"


@network("resnet18", 2015, _PAPER, 11_689_512, 1.814e9, "torchvision", width=1.0,
         depths=(2, 2, 2, 2))  # fmt: skip
@network("resnet34", 2015, _PAPER, 21_797_672, 3.664e9, "torchvision", width=1.0,
         depths=(3, 4, 6, 3))  # fmt: skip
@network("resnet50", 2015, _PAPER, 25_557_032, 4.089e9, "torchvision", width=1.0,
         depths=(3, 4, 6, 3), bottleneck=True)  # fmt: skip
@network("resnet101", 2015, _PAPER, 44_549_160, 7.801e9, "torchvision", width=1.0,
         depths=(3, 4, 23, 3), bottleneck=True)  # fmt: skip
def resnet(net: Net, depths: tuple[int, ...], bottleneck: bool = False) -> Value:
    """Table 1 of the paper."""
    x = net.image()
    return classifier(net, backbone(net, x, depths, bottleneck, net.width)[-1])


def backbone(
    net: Net, x: Value, depths: tuple[int, ...], bottleneck: bool, width: float = 1.0
) -> list[Value]:
    """The results of the four stages, at 1/4, 1/8, 1/16 and 1/32 of the resolution."""
    x = conv_bn(net, x, int(64 * width), 7, 2)
    x = net.pool(x, "max", 3, 2, 1)
    stages = []
    for stage, depth in enumerate(depths):
        for i in range(depth):
            with net.scope(f"layer{stage + 1}.{i}"):
                stride = 2 if stage and i == 0 else 1
                x = _block(net, x, int((64 << stage) * width), stride, bottleneck)
        stages.append(x)
    return stages


def _block(net: Net, x: Value, channels: int, stride: int, bottleneck: bool) -> Value:
    if bottleneck:
        out = 4 * channels
        y = conv_bn(net, conv_bn(net, x, channels, 1), channels, 3, stride)
        y = conv_bn(net, y, out, 1, act=None, gain=RESIDUAL)
    else:
        out = channels
        y = conv_bn(net, x, out, 3, stride)
        y = conv_bn(net, y, out, 3, act=None, gain=RESIDUAL)
    if stride > 1 or x.channels != out:
        x = conv_bn(net, x, out, 1, stride, act=None)
    return net.act(net.add(y, x), "relu")
