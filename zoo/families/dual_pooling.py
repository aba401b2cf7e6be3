"""Dual-pooling attention (arXiv 1807.06521): mean and maximum of each channel, judged by one shared network."""

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
    shapes = (
        (x.channels // reduction, x.channels, 1, 1),
        (x.channels, x.channels // reduction, 1, 1),
    )
    weights = [net.parameter(net.draw_weight(shape)) for shape in shapes]

    def shared(y: Value) -> Value:
        y = net.act(net.op("Conv", [y, weights[0]], (y.shape[0], *shapes[0][:1], 1, 1)), "relu")
        return net.op("Conv", [y, weights[1]], x.shape[:2] + (1, 1))

    both = net.add(*(shared(net.global_pool(x, kind)) for kind in ("avg", "max")))
    return net.mul(x, net.act(both, "sigmoid"))
