"""MLPerf Tiny (arXiv 2106.07597): keyword spotting, anomalies, small images.

Its fourth network, a person or none, is ``mobilenet_v1_025_96`` of `families.mobilenet`.
"""

from lwprof.zoo.blocks import RESIDUAL, Net, Value, classifier, conv_bn
from lwprof.zoo.registry import network


@network("ds_cnn", resolution=None, classes=12)
def ds_cnn(net: Net) -> Value:
    """49 windows of 10 coefficients: one convolution, four depthwise-separable ones."""
    x = net.input((net.batch, 1, 49, 10))
    # Padding as the reference's "same" at stride 2: one more at the end.
    x = net.op("Pad", [x, net.integers((0, 0, 4, 1, 0, 0, 5, 1))], (net.batch, 1, 58, 12))
    x = conv_bn(net, x, 64, (10, 4), 2, pad=0, bias=True)
    for _ in range(4):
        x = conv_bn(net, conv_bn(net, x, 64, groups=64, bias=True), 64, 1, bias=True)
    return classifier(net, x)


@network("autoencoder", resolution=None, classes=None)
def autoencoder(net: Net) -> Value:
    """Five spectrogram frames squeezed to 8 numbers and back."""
    x = net.input((net.batch, 640))
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = net.act(net.batch_norm(net.linear(x, width)), "relu")
    return net.linear(x, 640)


@network("resnet8", resolution=None, classes=10)
def resnet8(net: Net) -> Value:
    """Three residual blocks on 32×32 pixels."""
    x = conv_bn(net, net.input((net.batch, 3, 32, 32)), 16, bias=True)
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        y = conv_bn(net, x, out, 3, stride, bias=True)
        y = conv_bn(net, y, out, act=None, bias=True, gain=RESIDUAL)
        if stride > 1:
            x = net.conv(x, out, 1, stride, bias=True)
        x = net.act(net.add(x, y), "relu")
    return classifier(net, x)
