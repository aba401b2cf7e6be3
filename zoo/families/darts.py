"""DARTS (arXiv 1806.09055): a genotype in, a network out. The recurrent cell is out of scope."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, relu_conv_bn, relu_separable_bn
from lwprof.zoo.registry import network

# A cell: eight (operation, input); two make one node. Inputs 0 and 1 are the cells before
# the last and the last, 2 to 5 the nodes, and the nodes' concatenation is the result.
Cell = tuple[tuple[str, int], ...]
_NORMAL: Cell = (
    ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2),
)  # fmt: skip
_REDUCE: Cell = (
    ("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
    ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1),
)  # fmt: skip


@network("darts_imagenet")
@network("darts_cifar10", resolution=32, classes=10, channels=36, layers=20)
def darts(
    net: Net, channels: int = 48, layers: int = 14, normal: Cell = _NORMAL, reduce: Cell = _REDUCE
) -> Value:
    """``layers`` cells, reduction cells at one and two thirds; two-step stem above 64 pixels."""
    image = net.image()
    if net.resolution > 64:
        before = conv_bn(net, conv_bn(net, image, channels // 2, 3, 2), channels, 3, 2, None)
        x = relu_conv_bn(net, before, channels, 3, 2)
    else:
        before = x = conv_bn(net, image, 3 * channels, 3, 1, None)
    for i in range(layers):
        reducing = i in (layers // 3, 2 * layers // 3)
        channels <<= reducing
        with net.scope(f"cell{i}"):
            y = _cell(net, before, x, reduce if reducing else normal, channels, reducing)
        before, x = x, y
    return classifier(net, x)


def _cell(
    net: Net, before: Value, x: Value, genotype: Cell, channels: int, reducing: bool
) -> Value:
    fit = relu_conv_bn if before.shape[2:] == x.shape[2:] else _halve
    before = fit(net, before, channels)
    values = [before, relu_conv_bn(net, x, channels)]
    for node in range(0, len(genotype), 2):
        left, right = (
            _operation(net, kind, values[i], 2 if reducing and i < 2 else 1)
            for kind, i in genotype[node : node + 2]
        )
        values.append(net.add(left, right))
    return net.concat(values[2:])


def _halve(net: Net, x: Value, channels: int) -> Value:
    """Two strided 1×1 convolutions, one of them a pixel further on."""
    x = net.act(x, "relu")
    shifted = net.slice(net.slice(x, 1, x.shape[2], 2), 1, x.shape[3], 3)
    halves = [net.conv(y, channels // 2, 1, 2) for y in (x, shifted)]
    return net.batch_norm(net.concat(halves))


def _operation(net: Net, kind: str, x: Value, stride: int) -> Value:
    channels = x.channels
    if kind == "none":
        x = x if stride == 1 else net.pool(x, "avg", 1, stride)
        return net.op("Mul", [x, net.number(0)], x.shape)
    if kind == "skip_connect":
        return x if stride == 1 else _halve(net, x, channels)
    if kind.endswith("pool_3x3"):
        return net.pool(x, kind[:3], 3, stride, 1)
    kernel = int(kind[-1])
    if kind.startswith("dil"):
        return relu_separable_bn(net, x, channels, kernel, stride, 2)
    x = relu_separable_bn(net, x, channels, kernel, stride)
    return relu_separable_bn(net, x, channels, kernel)
