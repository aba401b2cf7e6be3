"""ProxylessNAS: inverted residuals searched on the target device, one network for each."""

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, inverted_residual
from lwprof.zoo.registry import network

_Stages = tuple[tuple[int, int, str], ...]
# channels, stride, and the layers as expansion:kernel; layers found to be skipped are not there
_MOBILE = (
    (16, 1, "1:3"), (32, 2, "3:5 3:3"), (40, 2, "3:7 3:3 3:5 3:5"), (80, 2, "6:7 3:5 3:5 3:5"),
    (96, 1, "6:5 3:5 3:5 3:5"), (192, 2, "6:7 6:7 3:7 3:7"), (320, 1, "6:7"),
)  # fmt: skip
_CPU = (
    (24, 1, "1:3"), (32, 2, "6:3 3:3 3:3 3:3"), (48, 2, "6:3 3:3 3:3 3:5"), (88, 2, "6:3 3:3"),
    (104, 1, "6:5 3:3 3:3 3:3"), (216, 2, "6:5 3:5 3:5 3:3"), (360, 1, "6:5"),
)  # fmt: skip
_GPU = (
    (24, 1, "1:3"), (32, 2, "3:5"), (56, 2, "3:7 3:3"), (112, 2, "6:7 3:5"),
    (128, 1, "6:5 3:3 3:5"), (256, 2, "6:7 6:7 6:7 6:5"), (432, 1, "6:7"),
)  # fmt: skip


@network("proxylessnas_mobile", stages=_MOBILE, head=1280)
@network("proxylessnas_cpu", stages=_CPU, stem=40, head=1432)
@network("proxylessnas_gpu", stages=_GPU, stem=40, head=1728)
def proxylessnas(net: Net, stages: _Stages, head: int, stem: int = 32) -> Value:
    """Figure 4 of arXiv 1812.00332."""
    net.eps = 1e-3
    x = conv_bn(net, net.image(), stem, 3, 2, "relu6")
    for channels, stride, layers in stages:
        for i, layer in enumerate(layers.split()):
            expansion, kernel = map(int, layer.split(":"))
            hidden = expansion * x.channels
            x = inverted_residual(net, x, channels, hidden, kernel, 1 if i else stride)
    return classifier(net, conv_bn(net, x, head, 1, act="relu6"))
