"""Global Convolutional Network: a segmentation head of 1×k + k×1 convolutions on a ResNet."""

from lwprof.zoo.builder import Net, Value
from lwprof.zoo.families.resnet import stages, stem
from lwprof.zoo.registry import network


@network("gcn_resnet50", resolution=512, classes=21)
@network("gcn_resnet50_square", resolution=512, classes=21, square=True)
def gcn(net: Net, kernel: int = 15, square: bool = False) -> Value:
    """Figure 2 of arXiv 1703.02719, at a resolution that 32 divides."""
    results, score = stages(net, stem(net), (3, 4, 6, 3), True), None
    net.gain = 1.0  # no activations between the head's convolutions
    for features in reversed(results):
        with net.scope(f"head{net.resolution // features.shape[2]}"):
            y = _refine(net, large_kernel(net, features, net.classes, kernel, square))
            score = y if score is None else _refine(net, net.add(_double(net, score), y))
    assert score is not None
    return _refine(net, _double(net, _refine(net, _double(net, score))))


def large_kernel(net: Net, x: Value, out: int, kernel: int, square: bool = False) -> Value:
    """k×1 after 1×k plus 1×k after k×1; or, for comparison, one k×k."""
    if square:
        return net.conv(x, out, kernel, bias=True)
    column, row = (kernel, 1), (1, kernel)
    sides = (net.conv(net.conv(x, out, first, bias=True), out, second, bias=True)
             for first, second in ((column, row), (row, column)))  # fmt: skip
    return net.add(*sides)


def _refine(net: Net, x: Value) -> Value:
    y = net.act(net.conv(x, x.channels, bias=True), "relu")
    return net.add(x, net.conv(y, x.channels, bias=True))


def _double(net: Net, x: Value) -> Value:
    """Learned upsampling by 2: a transposed 4×4 convolution."""
    n, c, height, width = x.shape
    weight = net.parameter(net.draw((c, c, 4, 4), (4 * c) ** -0.5))
    return net.op("ConvTranspose", [x, weight], (n, c, 2 * height, 2 * width), x.power,
                  kernel_shape=(4, 4), strides=(2, 2), pads=(1, 1, 1, 1))  # fmt: skip
