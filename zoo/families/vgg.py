"""VGG: chains of 3×3 convolutions between poolings, then three fully connected layers."""

from lwprof.zoo.blocks import conv_act, three_layer_classifier
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = "Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556"


@network("vgg16", 2014, _PAPER, 138_357_544, 15.470e9, "torchvision", width=1.0,
         depths=(2, 2, 3, 3, 3))  # fmt: skip
@network("vgg19", 2014, _PAPER, 143_667_240, 19.632e9, "torchvision", width=1.0,
         depths=(2, 2, 4, 4, 4))  # fmt: skip
def vgg(net: Net, depths: tuple[int, ...]) -> Value:
    """Configurations D and E of Table 1."""
    x = net.image()
    for depth, channels in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            x = conv_act(net, x, int(channels * net.width))
        x = net.pool(x, "max", 2, 2)
    return three_layer_classifier(net, net.adaptive_pool(x, 7), int(4096 * net.width))
