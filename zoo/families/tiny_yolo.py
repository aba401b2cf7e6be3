"""Tiny YOLOv3: a chain of convolutions and two detection heads."""

from lwprof.zoo.blocks import Net, Value, conv_bn
from lwprof.zoo.registry import network

_ACT = "leaky_relu"


@network("tiny_yolo", resolution=416, classes=80)
def tiny_yolo(net: Net) -> tuple[Value, Value]:
    """Three boxes per place at 1/32 and 1/16 of the resolution, before decoding."""
    x = net.image()
    for channels in (16, 32, 64, 128):
        x = net.pool(conv_bn(net, x, channels, act=_ACT), "max", 2, 2)
    fine = conv_bn(net, x, 256, act=_ACT)
    x = conv_bn(net, net.pool(fine, "max", 2, 2), 512, act=_ACT)
    # Darknet's pooling of stride 1 keeps the size: it pads at the end only.
    x = net.op("MaxPool", [x], x.shape, kernel_shape=(2, 2), strides=(1, 1), pads=(0, 0, 1, 1))
    x = conv_bn(net, conv_bn(net, x, 1024, act=_ACT), 256, 1, act=_ACT)
    boxes = 3 * (net.classes + 5)
    coarse = net.conv(conv_bn(net, x, 512, act=_ACT), boxes, 1, bias=True)
    x = net.resize(conv_bn(net, x, 128, 1, act=_ACT), fine.shape[2:])
    x = conv_bn(net, net.concat([x, fine]), 256, act=_ACT)
    return coarse, net.conv(x, boxes, 1, bias=True)
