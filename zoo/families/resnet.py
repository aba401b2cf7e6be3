"""ResNet: residual stages of two 3×3, or of 1×1, 3×3, 1×1 (v1.5: the stride is in the 3×3)."""

from __future__ import annotations

from lwprof.zoo.blocks import RESIDUAL, classifier, conv_bn
from lwprof.zoo.builder import Net
from lwprof.zoo.graph import Value
from lwprof.zoo.registry import network

_PAPER = "Deep Residual Learning for Image Recognition, arXiv 1512.03385"


@network(
    "resnet18",
    year=2015,
    paper=_PAPER,
    params=11_689_512,
    macs=1.814e9,
    source="torchvision",
    depths=(2, 2, 2, 2),
)
@network(
    "resnet34",
    year=2015,
    paper=_PAPER,
    params=21_797_672,
    macs=3.664e9,
    source="torchvision",
    depths=(3, 4, 6, 3),
)
@network(
    "resnet50",
    year=2015,
    paper=_PAPER,
    params=25_557_032,
    macs=4.089e9,
    source="torchvision",
    depths=(3, 4, 6, 3),
    bottleneck=True,
)
@network("resnet101", year=2015, paper=_PAPER, params=44_549_160, macs=7.801e9,
         source="torchvision", depths=(3, 4, 23, 3), bottleneck=True)  # fmt: skip
def resnet(
    net: Net,
    depths: tuple[int, ...],
    bottleneck: bool = False,
    width: float = 1.0,
    resolution: int = 224,
    classes: int = 1000,
    batch: int = 1,
) -> Value:
    """Table 1 of the paper."""
    x = net.input((batch, 3, resolution, resolution))
    return classifier(net, backbone(net, x, depths, bottleneck, width)[-1], classes)


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
