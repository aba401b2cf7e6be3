"""MobileNetV1: depthwise-separable convolutions."""

from __future__ import annotations

from lwprof.zoo.blocks import classifier, conv_bn, depthwise
from lwprof.zoo.builder import Net
from lwprof.zoo.graph import Value
from lwprof.zoo.registry import network

# (channels, stride) of each separable convolution
_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
           (1024, 2), (1024, 1))  # fmt: skip


@network("mobilenet_v1", year=2017, params=4_231_976, macs=569e6,
         paper="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision "
         "Applications, arXiv 1704.04861",
         source="parameters of the paper's table with batch norm's; MACs of the paper")  # fmt: skip
def mobilenet_v1(
    net: Net, width: float = 1.0, resolution: int = 224, classes: int = 1000, batch: int = 1
) -> Value:
    """Table 1 of the paper."""
    x = net.input((batch, 3, resolution, resolution))
    x = conv_bn(net, x, int(32 * width), 3, 2)
    for channels, stride in _LAYERS:
        x = depthwise(net, x, 3, stride)
        x = conv_bn(net, x, int(channels * width), 1)
    return classifier(net, x, classes)
