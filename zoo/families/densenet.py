"""DenseNet: every layer reads the concatenation of all before it in its block."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn
from lwprof.zoo.registry import network


@network("densenet121", depths=(6, 12, 24, 16))
@network("densenet201", depths=(6, 12, 48, 32))
def densenet(net: Net, depths: tuple[int, ...], growth: int = 32) -> Value:
    """Table 1 of arXiv 1608.06993."""
    x = net.pool(conv_bn(net, net.image(), 2 * growth, 7, 2), "max", 3, 2, 1)
    for stage, depth in enumerate(depths):
        if stage:
            x = net.pool(net.conv(_bn_relu(net, x), x.channels // 2, 1), "avg", 2, 2)
        for i in range(depth):
            with net.scope(f"block{stage + 1}.{i}"):
                y = net.conv(_bn_relu(net, x), 4 * growth, 1)
                x = net.concat([x, net.conv(_bn_relu(net, y), growth, 3)])
    return classifier(net, _bn_relu(net, x))


def _bn_relu(net: Net, x: Value) -> Value:
    return net.act(net.batch_norm(x), "relu")
