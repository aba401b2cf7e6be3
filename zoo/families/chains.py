"""Chains: LeNet-5, AlexNet, ZFNet, VGG. Convolutions and poolings, then fully connected layers."""

from lwprof.zoo.blocks import Net, Value, conv_act, three_layer_classifier
from lwprof.zoo.registry import network


@network("lenet5", resolution=None, classes=10)
def lenet5(net: Net) -> Value:
    """Section II.B of Proc. IEEE 86(11), in the form that is built today: plain pooling, no RBF."""
    net.gain = 1.0
    x = net.input((net.batch, 1, 32, 32))
    for channels in (6, 16):
        x = net.pool(conv_act(net, x, channels, 5, act="tanh", pad=0), "avg", 2, 2)
    x = net.flatten(conv_act(net, x, 120, 5, act="tanh", pad=0))
    return net.linear(net.act(net.linear(x, 84), "tanh"), net.classes)


@network("alexnet")
def alexnet(net: Net) -> Value:
    """The single tower of arXiv 1404.5997."""
    x = net.pool(conv_act(net, net.image(), 64, 11, 4, pad=2), "max", 3, 2)
    x = net.pool(conv_act(net, x, 192, 5), "max", 3, 2)
    for channels in (384, 256, 256):
        x = conv_act(net, x, channels)
    return three_layer_classifier(net, net.adaptive_pool(net.pool(x, "max", 3, 2), 6))


@network("alexnet_2012", resolution=227)
def alexnet_2012(net: Net) -> Value:
    """Section 3.5 of the paper of NeurIPS 2012: two towers, written as group convolutions.

    The paper says 224 pixels; its 55×55 maps follow from 227.
    """
    x = conv_act(net, net.image(), 96, 11, 4, pad=0)
    x = conv_act(net, net.pool(local_norm(net, x), "max", 3, 2), 256, 5, groups=2)
    x = net.pool(local_norm(net, x), "max", 3, 2)
    for channels, groups in ((384, 1), (384, 2), (256, 2)):
        x = conv_act(net, x, channels, groups=groups)
    return three_layer_classifier(net, net.pool(x, "max", 3, 2))


@network("zfnet")
def zfnet(net: Net) -> Value:
    """Figure 3 of arXiv 1311.2901."""
    x = conv_act(net, net.image(), 96, 7, 2, pad=1)
    x = conv_act(net, local_norm(net, net.pool(x, "max", 3, 2, 1)), 256, 5, 2, pad=0)
    x = local_norm(net, net.pool(x, "max", 3, 2, 1))
    for channels in (384, 384, 256):
        x = conv_act(net, x, channels)
    return three_layer_classifier(net, net.pool(x, "max", 3, 2))


def local_norm(net: Net, x: Value) -> Value:
    """Response normalisation over five neighbouring channels, with the paper's constants."""
    return net.op("LRN", [x], x.shape, size=5, alpha=1e-4, beta=0.75, bias=2.0)


@network("vgg16", width=1.0, depths=(2, 2, 3, 3, 3))
@network("vgg19", width=1.0, depths=(2, 2, 4, 4, 4))
def vgg(net: Net, depths: tuple[int, ...]) -> Value:
    """Configurations D and E of Table 1 of arXiv 1409.1556."""
    x = net.image()
    for depth, channels in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            x = conv_act(net, x, int(channels * net.width))
        x = net.pool(x, "max", 2, 2)
    return three_layer_classifier(net, net.adaptive_pool(x, 7), int(4096 * net.width))
