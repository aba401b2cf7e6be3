"""VGG: chains of 3×3 convolutions between poolings, then three fully connected layers."""

from __future__ import annotations

from lwprof.zoo.builder import Net
from lwprof.zoo.graph import Value
from lwprof.zoo.registry import network

_PAPER = "Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556"


@network(
    "vgg16",
    year=2014,
    paper=_PAPER,
    params=138_357_544,
    macs=15.470e9,
    source="torchvision",
    depths=(2, 2, 3, 3, 3),
)
@network("vgg19", year=2014, paper=_PAPER, params=143_667_240, macs=19.632e9,
         source="torchvision", depths=(2, 2, 4, 4, 4))  # fmt: skip
def vgg(
    net: Net,
    depths: tuple[int, ...],
    width: float = 1.0,
    resolution: int = 224,
    classes: int = 1000,
    batch: int = 1,
) -> Value:
    """Configurations D and E of Table 1."""
    x = net.input((batch, 3, resolution, resolution))
    for depth, channels in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            x = net.act(net.conv(x, int(channels * width), 3, bias=True), "relu")
        x = net.pool(x, "max", 2, 2)
    x = net.flatten(net.adaptive_pool(x, 7))
    for _ in range(2):
        x = net.act(net.linear(x, int(4096 * width)), "relu")
    return net.linear(x, classes)
