"""AdderNet (arXiv 1912.13200) and AdderSR: the l1 distance in place of the product.

ONNX has no adder convolution, so it is written out: the patches of the image (slices,
concatenated), Sub, Abs, ReduceSum. No runtime has a kernel for it, which is the point
of measuring it.
"""

import math

from lwprof.zoo.blocks import RESIDUAL, Net, Value, conv_bn
from lwprof.zoo.families.resnet import stages, stem
from lwprof.zoo.registry import network


def adder_conv(net: Net, x: Value, out: int, kernel: int = 3, stride: int = 1) -> Value:
    """Minus the l1 distance between every patch of ``x`` and each of ``out`` filters."""
    patches = _patches(net, x, kernel, stride)
    n, fan_in, height, width = patches.shape
    weight = net.parameter(net.draw((out, fan_in, 1), 1.0))
    columns = net.reshape(patches, (n, 1, fan_in, height * width))
    shape = (n, out, fan_in, height * width)
    distance = net.op("Abs", [net.op("Sub", [columns, weight], shape)], shape)
    total = net.op("ReduceSum", [distance, net.integers([2])], (n, out, height * width), keepdims=0)
    # Moments of the folded normal |x − w|, fan_in of them summed. All of them grow with the
    # loudness of the patch, hence the correlation (seen in the networks below).
    std, mean = math.hypot(x.std, 1.0), x.mean
    folded = std * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * std**2))
    folded += mean * math.erf(mean / (std * math.sqrt(2)))
    variance = fan_in * (mean**2 + std**2 - folded**2) * (1 + 0.05 * fan_in)
    power = (fan_in * folded) ** 2 + variance
    y = net.op("Neg", [total], total.shape, power, -fan_in * folded)
    return net.reshape(y, (n, out, height, width))


def _patches(net: Net, x: Value, kernel: int, stride: int) -> Value:
    """Every pixel's k×k neighbourhood as channels: (n, k·k·c, height, width)."""
    if kernel == stride == 1:
        return x
    n, c, height, width = x.shape
    size, pad = [(extent - 1) // stride + 1 for extent in (height, width)], kernel // 2
    if pad:
        shape = (n, c, height + 2 * pad, width + 2 * pad)
        x = net.op("Pad", [x, net.integers([0, 0, pad, pad, 0, 0, pad, pad])], shape)
    views = []
    for i in range(kernel):
        for j in range(kernel):
            stop = [i + (size[0] - 1) * stride + 1, j + (size[1] - 1) * stride + 1]
            bounds = [net.integers(v) for v in ([i, j], stop, [2, 3], [stride, stride])]
            views.append(net.op("Slice", [x, *bounds], (n, c, *size)))
    return net.concat(views)


def adder_bn(
    net: Net, x: Value, out: int, kernel: int = 3, stride: int = 1, act: str | None = "relu",
    gain: float = 1.0,
) -> Value:  # fmt: skip
    """Adder layer, batch normalisation to size ``gain``, activation."""
    return net.act(net.batch_norm(adder_conv(net, x, out, kernel, stride), gain), act)


@network("addernet_resnet20", resolution=32, classes=10, depths=(3, 3, 3))
@network("addernet_resnet50", depths=(3, 4, 6, 3))
def addernet(net: Net, depths: tuple[int, ...]) -> Value:
    """ResNet with adder layers; the first and the last layer multiply."""
    bottleneck = len(depths) == 4
    x, channels = (stem(net), 64) if bottleneck else (conv_bn(net, net.image(), 16), 16)
    x = stages(net, x, depths, bottleneck, channels, adder_bn)[-1]
    x = net.conv(net.global_pool(x), net.classes, 1, bias=bottleneck)
    return net.flatten(net.batch_norm(x))


@network("addersr", resolution=32, classes=None)
def addersr(net: Net, layers: int = 8, channels: int = 32) -> Value:
    """arXiv 2009.08891: super-resolution by 2, self-shortcuts, power activations.

    A self-shortcut adds a layer's input to its result, since adder layers cannot learn the
    identity; the activation is sign(x)·|x|^α with a learned α. Batch normalisation keeps
    the seeded network's sums finite.
    """
    x = net.conv(net.image(), channels, bias=True)
    for i in range(layers):
        with net.scope(f"layer{i}"):
            x = net.add(x, adder_bn(net, x, channels, act=None, gain=RESIDUAL))
            x = power_activation(net, x)
    x = net.conv(x, 12, bias=True)
    size = (net.batch, 3, 2 * net.resolution, 2 * net.resolution)
    return net.op("DepthToSpace", [x], size, blocksize=2, mode="CRD")


def power_activation(net: Net, x: Value) -> Value:
    """sign(x)·|x|^α with one learned α."""
    alpha = net.parameter(net.draw((1,), 0.02, 0.95), "alpha")
    power = net.op("Pow", [net.op("Abs", [x], x.shape), alpha], x.shape)
    return net.op("Mul", [net.op("Sign", [x], x.shape), power], x.shape, x.power)
