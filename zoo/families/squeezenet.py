"""SqueezeNet: fire modules squeeze by 1×1 and expand by 1×1 beside 3×3."""

from lwprof.zoo.blocks import Net, Value, conv_act
from lwprof.zoo.registry import network

_FIRES = (16, 16, 32, 32, 48, 48, 64, 64)  # squeezed channels; each half expands to four times


@network("squeezenet1_0", stem=(96, 7), pools=(0, 3, 7))
@network("squeezenet1_1", stem=(64, 3), pools=(0, 2, 4))
def squeezenet(net: Net, stem: tuple[int, int], pools: tuple[int, ...]) -> Value:
    """Table 1 of arXiv 1602.07360; ``pools`` are the fire modules that follow a pooling."""
    x = conv_act(net, net.image(), *stem, 2, pad=0)
    for i, squeezed in enumerate(_FIRES):
        if i in pools:
            x = net.pool(x, "max", 3, 2, ceil=True)
        x = conv_act(net, x, squeezed, 1)
        x = net.concat([conv_act(net, x, 4 * squeezed, kernel) for kernel in (1, 3)])
    return net.flatten(net.global_pool(conv_act(net, x, net.classes, 1)))
