"""LeNet-5, AlexNet and ZFNet: convolutions and poolings, then fully connected layers."""

from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_ALEXNET = "ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS 2012"


@network("lenet5", 1998,
         "Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11)", 61_706,
         416_520, "computed by hand from the paper, all maps of C3 connected", resolution=None,
         classes=10)  # fmt: skip
def lenet5(net: Net) -> Value:
    """Section II.B of the paper, in the form that is built today: plain pooling, no RBF."""
    net.gain = 1.0
    x = net.input((net.batch, 1, 32, 32))
    for channels in (6, 16):
        x = net.pool(net.act(net.conv(x, channels, 5, pad=0, bias=True), "tanh"), "avg", 2, 2)
    x = net.flatten(net.act(net.conv(x, 120, 5, pad=0, bias=True), "tanh"))
    return net.linear(net.act(net.linear(x, 84), "tanh"), net.classes)


@network("alexnet", 2014,
         "One weird trick for parallelizing convolutional neural networks, " "arXiv 1404.5997",
         61_100_840, 0.714e9, "torchvision")  # fmt: skip
def alexnet(net: Net) -> Value:
    """The single tower."""
    x = net.image()
    x = net.act(net.conv(x, 64, 11, 4, pad=2, bias=True), "relu")
    x = net.pool(x, "max", 3, 2)
    x = net.pool(net.act(net.conv(x, 192, 5, bias=True), "relu"), "max", 3, 2)
    for channels in (384, 256, 256):
        x = net.act(net.conv(x, channels, 3, bias=True), "relu")
    return _head(net, net.adaptive_pool(net.pool(x, "max", 3, 2), 6), net.classes)


@network("alexnet_2012", 2012, _ALEXNET, 60_965_224, 724_406_816, "computed by hand from the paper",
         resolution=227)  # fmt: skip
def alexnet_2012(net: Net) -> Value:
    """Section 3.5 of the paper: two towers, written as group convolutions.

    The paper says 224 pixels; its 55×55 maps follow from 227.
    """
    x = net.image()
    x = net.act(net.conv(x, 96, 11, 4, pad=0, bias=True), "relu")
    x = net.pool(_normalised(net, x), "max", 3, 2)
    x = net.act(net.conv(x, 256, 5, groups=2, bias=True), "relu")
    x = net.pool(_normalised(net, x), "max", 3, 2)
    for channels, groups in ((384, 1), (384, 2), (256, 2)):
        x = net.act(net.conv(x, channels, 3, groups=groups, bias=True), "relu")
    return _head(net, net.pool(x, "max", 3, 2), net.classes)


@network("zfnet", 2013, "Visualizing and Understanding Convolutional Networks, arXiv 1311.2901",
         62_357_608, None, "pytorchcv zfnet")  # fmt: skip
def zfnet(net: Net) -> Value:
    """Figure 3 of the paper."""
    x = net.image()
    x = net.act(net.conv(x, 96, 7, 2, pad=1, bias=True), "relu")
    x = _normalised(net, net.pool(x, "max", 3, 2, 1))
    x = net.act(net.conv(x, 256, 5, 2, pad=0, bias=True), "relu")
    x = _normalised(net, net.pool(x, "max", 3, 2, 1))
    for channels in (384, 384, 256):
        x = net.act(net.conv(x, channels, 3, bias=True), "relu")
    return _head(net, net.pool(x, "max", 3, 2), net.classes)


def _normalised(net: Net, x: Value) -> Value:
    return net.op("LRN", [x], x.shape, size=5, alpha=1e-4, beta=0.75, bias=2.0)


def _head(net: Net, x: Value, classes: int) -> Value:
    x = net.flatten(x)
    for _ in range(2):
        x = net.act(net.linear(x, 4096), "relu")
    return net.linear(x, classes)
