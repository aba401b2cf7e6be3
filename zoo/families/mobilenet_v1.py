"""MobileNetV1: depthwise-separable convolutions."""

from lwprof.zoo.blocks import classifier, conv_bn, depthwise
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

# (channels, stride) of each separable convolution
_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
           (1024, 2), (1024, 1))  # fmt: skip


@network("mobilenet_v1", 2017,
         "MobileNets: Efficient CNNs for Mobile Vision Applications, arXiv 1704.04861",
         4_231_976, 569e6, "parameters of the paper's table with batch norm's; MACs of the paper",
         width=1.0)  # fmt: skip
def mobilenet_v1(net: Net) -> Value:
    """Table 1 of the paper."""
    x = net.image()
    x = conv_bn(net, x, int(32 * net.width), 3, 2)
    for channels, stride in _LAYERS:
        x = depthwise(net, x, 3, stride)
        x = conv_bn(net, x, int(channels * net.width), 1)
    return classifier(net, x)
