"""FBNet: 22 layers, each searched among nine choices."""

from lwprof.zoo.blocks import RESIDUAL, Net, Value, channel_shuffle, classifier, conv_bn
from lwprof.zoo.registry import network

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


@network("fbnet_a", choices=_A, head=1504)
@network("fbnet_b", choices=_B)
@network("fbnet_c", choices=_C)
def fbnet(net: Net, choices: str, head: int = 1984) -> Value:
    """Table 1 of arXiv 1812.03443, choices of its figure 4; the last 1×1 has ``head`` outputs."""
    layers = iter(choices.split())
    x = conv_bn(net, net.image(), 16, 3, 2)
    for channels, repeats, stride in _STAGES:
        for i in range(repeats):
            x = _layer(net, x, channels, 1 if i else stride, next(layers))
    return classifier(net, conv_bn(net, x, head, 1))


def _layer(net: Net, x: Value, out: int, stride: int, choice: str) -> Value:
    same = (stride, out) == (1, x.channels)
    if choice == "skip":
        return x if same else conv_bn(net, x, out, 1, stride, None, bias=True)
    kernel, expansion, groups = int(choice[1]), int(choice[4]), 2 if "g2" in choice else 1
    y, hidden = x, expansion * x.channels
    if hidden != x.channels:
        y = conv_bn(net, y, hidden, 1, groups=groups, bias=True)
    if groups > 1:
        y = channel_shuffle(net, y, groups)
    y = conv_bn(net, y, hidden, kernel, stride, groups=hidden, bias=True)
    gain = RESIDUAL if same else 1.0
    y = conv_bn(net, y, out, 1, act=None, groups=groups, bias=True, gain=gain)
    return net.add(x, y) if same else y
