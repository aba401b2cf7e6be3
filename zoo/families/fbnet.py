"""FBNet: 22 layers, each searched among nine choices."""

from lwprof.zoo.blocks import RESIDUAL, channel_shuffle, classifier
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_PAPER = "FBNet: Hardware-Aware Efficient ConvNet Design via DNAS, arXiv 1812.03443"
_SOURCE = (
    "the authors' mobile-vision repository: parameters of its definition (biases before batch norm)"
)
# channels, layers, stride of the first
_STAGES = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
# The 22 choices: k<kernel>_e<expansion>, _g2 for two groups in the 1×1 convolutions, or skip.
_A = """skip
    k3_e3 k3_e1 skip skip  k5_e6 k3_e3 k5_e1 k3_e3  k5_e6 k5_e3 k5_e1_g2 k5_e6
    k3_e6 k5_e1_g2 k5_e3 k3_e1_g2  k5_e6 k5_e6 k5_e3 k5_e6  k5_e6"""
_B = """k3_e1
    k3_e6 k5_e1 k3_e1 k3_e1  k5_e6 k5_e3 k3_e6 k5_e6  k5_e6 k5_e6 skip k5_e3
    k5_e6 k3_e1 k5_e1 k5_e3  k5_e6 k5_e1 k5_e6 k5_e6  k3_e6"""
_C = """k3_e1
    k3_e6 skip k3_e1 k3_e1  k5_e6 k5_e3 k5_e6 k3_e6  k5_e6 k5_e3 k5_e6 k5_e6
    k5_e6 k5_e6 k5_e6 k5_e3  k5_e6 k5_e6 k5_e6 k5_e6  k3_e6"""


@network("fbnet_a", 2018, _PAPER, 4_319_712, 244.5e6, _SOURCE, choices=_A, head=1504)
@network("fbnet_b", 2018, _PAPER, 4_816_216, 291.1e6, _SOURCE, choices=_B)
@network("fbnet_c", 2018, _PAPER, 5_590_784, 378.2e6, _SOURCE, choices=_C)
def fbnet(net: Net, choices: str, head: int = 1984) -> Value:
    """Table 1 of the paper with the choices of its figure 4; the last 1×1 has ``head`` outputs."""
    layers = iter(choices.split())
    x = net.image()
    x = net.act(net.batch_norm(net.conv(x, 16, 3, 2)), "relu")
    for channels, repeats, stride in _STAGES:
        for i in range(repeats):
            x = _layer(net, x, channels, 1 if i else stride, next(layers))
    x = net.act(net.batch_norm(net.conv(x, head, 1)), "relu")
    return classifier(net, x)


def _layer(net: Net, x: Value, out: int, stride: int, choice: str) -> Value:
    if choice == "skip":
        return x if (stride, out) == (1, x.channels) else _linear(net, x, out, 1, stride)
    kernel, expansion, groups = int(choice[1]), int(choice[4]), 2 if "g2" in choice else 1
    y, hidden = x, expansion * x.channels
    if hidden != x.channels:
        y = net.act(_linear(net, y, hidden, groups), "relu")
    if groups > 1:
        y = channel_shuffle(net, y, groups)
    y = net.conv(y, hidden, kernel, stride, groups=hidden, bias=True)
    y = net.act(net.batch_norm(y), "relu")
    if (stride, out) != (1, x.channels):
        return _linear(net, y, out, groups)
    return net.add(x, _linear(net, y, out, groups, gain=RESIDUAL))


def _linear(net: Net, x: Value, out: int, groups: int, stride: int = 1, gain: float = 1.0) -> Value:
    return net.batch_norm(net.conv(x, out, 1, stride, groups=groups, bias=True), gain)
