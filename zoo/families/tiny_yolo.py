"""Tiny YOLOv3: a chain of convolutions and two detection heads."""

from __future__ import annotations

from lwprof.zoo.blocks import conv_bn
from lwprof.zoo.builder import Net
from lwprof.zoo.graph import Value
from lwprof.zoo.registry import network

_ACT = "leaky_relu"


@network(
    "tiny_yolo",
    year=2018,
    params=8_852_366,
    macs=2.785e9,
    paper="YOLOv3: An Incremental Improvement, arXiv 1804.02767",
    source="size of yolov3-tiny.weights; MACs: half of darknet's 5.571 billion operations",
)
def tiny_yolo(
    net: Net, resolution: int = 416, classes: int = 80, batch: int = 1
) -> tuple[Value, Value]:
    """Three boxes per place at 1/32 and 1/16 of the resolution, before decoding."""
    x = net.input((batch, 3, resolution, resolution))
    for channels in (16, 32, 64, 128):
        x = net.pool(conv_bn(net, x, channels, act=_ACT), "max", 2, 2)
    fine = conv_bn(net, x, 256, act=_ACT)
    x = conv_bn(net, net.pool(fine, "max", 2, 2), 512, act=_ACT)
    # Darknet's pooling of stride 1 keeps the size: it pads at the end only.
    x = net.op("MaxPool", [x], x.shape, kernel_shape=(2, 2), strides=(1, 1), pads=(0, 0, 1, 1))
    x = conv_bn(net, conv_bn(net, x, 1024, act=_ACT), 256, 1, act=_ACT)
    boxes = 3 * (classes + 5)
    coarse = net.conv(conv_bn(net, x, 512, act=_ACT), boxes, 1, bias=True)
    x = net.upsample(conv_bn(net, x, 128, 1, act=_ACT), 2)
    x = conv_bn(net, net.concat([x, fine]), 256, act=_ACT)
    return coarse, net.conv(x, boxes, 1, bias=True)
