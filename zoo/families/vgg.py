"""VGG: chains of 3×3 convolutions between poolings, then three fully connected layers."""

from lwprof.zoo.blocks import Net, Value, conv_act, three_layer_classifier
from lwprof.zoo.registry import network


@network("vgg16", width=1.0, depths=(2, 2, 3, 3, 3))
@network("vgg19", width=1.0, depths=(2, 2, 4, 4, 4))
def vgg(net: Net, depths: tuple[int, ...]) -> Value:
    """Configurations D and E of Table 1."""
    x = net.image()
    for depth, channels in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            x = conv_act(net, x, int(channels * net.width))
        x = net.pool(x, "max", 2, 2)
    return three_layer_classifier(net, net.adaptive_pool(x, 7), int(4096 * net.width))
