"""ProxylessNAS: inverted residuals searched on the target device, one network for each."""

from lwprof.zoo.blocks import classifier, conv_bn, inverted_residual
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = (
    "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, arXiv 1812.00332"
)
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


@network("proxylessnas_mobile", 2018, _PAPER, 4_080_512, 320e6,
         "parameters of pytorchcv; MACs of the paper", stages=_MOBILE, head=1280)  # fmt: skip
@network("proxylessnas_cpu", 2018, _PAPER, 4_361_648, None, "pytorchcv", stages=_CPU, stem=40,
         head=1432)  # fmt: skip
@network("proxylessnas_gpu", 2018, _PAPER, 7_119_848, 465e6,
         "parameters of pytorchcv; MACs of the authors' page", stages=_GPU, stem=40,
         head=1728)  # fmt: skip
def proxylessnas(net: Net, stages: _Stages, head: int, stem: int = 32) -> Value:
    """Figure 4 of the paper."""
    net.eps = 1e-3
    x = conv_bn(net, net.image(), stem, 3, 2, "relu6")
    for channels, stride, layers in stages:
        for i, layer in enumerate(layers.split()):
            expansion, kernel = map(int, layer.split(":"))
            hidden = expansion * x.channels
            x = inverted_residual(net, x, channels, hidden, kernel, 1 if i else stride)
    return classifier(net, conv_bn(net, x, head, 1, act="relu6"))
