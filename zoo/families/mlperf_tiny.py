"""MLPerf Tiny: keyword spotting, anomalies, small images.

Its fourth network, a person or none, is ``mobilenet_v1_025_96`` of `families.mobilenet`.
"""

from lwprof.zoo.blocks import RESIDUAL
from lwprof.zoo.builder import Net, Pair, Value
from lwprof.zoo.registry import network

_PAPER = "MLPerf Tiny Benchmark, arXiv 2106.07597"
_SOURCE = "computed by hand from the reference; its convolutions have biases"


@network("ds_cnn", 2021, _PAPER, 23_756, 2_656_768, _SOURCE, resolution=None, classes=12)
def ds_cnn(net: Net) -> Value:
    """49 windows of 10 coefficients: one convolution, four depthwise-separable ones."""
    x = net.input((net.batch, 1, 49, 10))
    # Padding as the reference's "same" at stride 2: one more at the end.
    x = net.op("Pad", [x, net.integers((0, 0, 4, 1, 0, 0, 5, 1))], (net.batch, 1, 58, 12))
    x = _conv(net, x, 64, (10, 4), 2, pad=0)
    for _ in range(4):
        x = _conv(net, _conv(net, x, 64, 3, groups=64), 64, 1)
    return net.linear(net.flatten(net.global_pool(x)), net.classes)


@network("autoencoder", 2021, _PAPER, 267_928, 264_192, _SOURCE, resolution=None, classes=None)
def autoencoder(net: Net) -> Value:
    """Five spectrogram frames squeezed to 8 numbers and back."""
    x = net.input((net.batch, 640))
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = net.act(net.batch_norm(net.linear(x, width)), "relu")
    return net.linear(x, 640)


@network("resnet8", 2021, _PAPER, 78_186, 12_501_632, _SOURCE, resolution=None, classes=10)
def resnet8(net: Net) -> Value:
    """Three residual blocks on 32×32 pixels."""
    x = _conv(net, net.input((net.batch, 3, 32, 32)), 16, 3)
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(_conv(net, x, out, 3, stride), out, 3, bias=True)
        if stride > 1:
            x = net.conv(x, out, 1, stride, bias=True)
        x = net.act(net.add(x, net.batch_norm(y, RESIDUAL)), "relu")
    return net.linear(net.flatten(net.global_pool(x)), net.classes)


def _conv(
    net: Net, x: Value, out: int, kernel: Pair, stride: int = 1, pad: int | None = None,
    groups: int = 1,
) -> Value:  # fmt: skip
    y = net.conv(x, out, kernel, stride, pad=pad, groups=groups, bias=True)
    return net.act(net.batch_norm(y), "relu")
