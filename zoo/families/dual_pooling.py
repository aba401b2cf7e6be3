"""Dual-pooling attention (arXiv 1807.06521): a shared network judges channels' mean and maximum."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn
from lwprof.zoo.registry import network


@network("dual_pooling_attention", resolution=112, classes=100)
def attentive(net: Net) -> Value:
    """Four strided 3×3 convolutions, each followed by the attention."""
    x = net.image()
    for stage in range(4):
        with net.scope(f"stage{stage}"):
            x = dual_pooling(net, conv_bn(net, x, 32 << stage, 3, 2))
    return classifier(net, x)


def dual_pooling(net: Net, x: Value, reduction: int = 16) -> Value:
    """``x`` times the sigmoid of the sum of a shared two-layer network on both poolings."""
    n, channels, few = *x.shape[:2], x.channels // reduction
    shapes = ((few, channels, 1, 1), (channels, few, 1, 1))
    down, up = (net.parameter(net.draw_weight(shape)) for shape in shapes)

    def shared(y: Value) -> Value:
        y = net.act(net.op("Conv", [y, down], (n, few, 1, 1)), "relu")
        return net.op("Conv", [y, up], (n, channels, 1, 1))

    both = net.add(*(shared(net.global_pool(x, kind)) for kind in ("avg", "max")))
    return net.mul(x, net.act(both, "sigmoid"))
