"""RepVGG: trained as 3×3 + 1×1 + identity, deployed as one 3×3; both from the same weights."""

import math
from dataclasses import replace

from lwprof.zoo.blocks import classifier
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network
from lwprof.zoo.reparameterisation import fold, identity, merge

_PAPER = "RepVGG: Making VGG-style ConvNets Great Again, arXiv 2101.03697"
_A0, _B0 = ((2, 48), (4, 96), (14, 192), (1, 1280)), ((4, 64), (6, 128), (16, 256), (1, 1280))


@network("repvgg_a0", 2021, _PAPER, 9_108_968, 1.52e9, "timm repvgg_a0", stages=_A0)
@network("repvgg_a0_deploy", 2021, _PAPER, 8_309_384, 1.4e9, "README of DingXiaoH/RepVGG",
         stages=_A0, deploy=True)  # fmt: skip
@network("repvgg_b0", 2021, _PAPER, 15_817_960, 3.41e9, "timm repvgg_b0", stages=_B0)
@network("repvgg_b0_deploy", 2021, _PAPER, 14_339_048, 3.1e9, "README of DingXiaoH/RepVGG",
         stages=_B0, deploy=True)  # fmt: skip
def repvgg(net: Net, stages: tuple[tuple[int, int], ...], deploy: bool = False) -> Value:
    """Table 2 of the paper; ``stages`` are (depth, channels)."""
    x = net.image()
    x = block(net, x, min(64, stages[0][1]), 2, deploy)
    for stage, (depth, channels) in enumerate(stages):
        for i in range(depth):
            with net.scope(f"stage{stage + 1}.{i}"):
                x = block(net, x, channels, 1 if i else 2, deploy)
    return classifier(net, x)


def block(net: Net, x: Value, out: int, stride: int, deploy: bool) -> Value:
    """One block; both forms draw the same numbers in the same order."""
    same = stride == 1 and x.channels == out
    convolved = Value("", (x.shape[0], out), net.gain * x.power)
    weights = [net.draw_weight((out, x.channels, k, k)) for k in (3, 1)]
    norms = [net.draw_norm(convolved, gain) for gain in (0.7, 0.5)]
    if same:  # not centred: a ReLU behind shifts that add up over blocks would die
        norms.append(net.draw_norm(replace(x, mean=0.0), 0.5))
    power, mean = sum(norm.power for norm in norms), same * 0.5 * x.mean / math.sqrt(x.power)
    if deploy and net.weights.constant:
        y = net.conv_with(x, weights[0], norms[0].beta, stride)
    elif deploy:
        parts = [*weights, identity(out, 1)][: len(norms)]
        kernel, bias = merge([fold(w, n) for w, n in zip(parts, norms, strict=True)], 3)
        y = net.conv_with(x, kernel, bias, stride)
    else:
        y = net.norm_with(net.conv_with(x, weights[0], None, stride), norms[0])
        y = net.add(y, net.norm_with(net.conv_with(x, weights[1], None, stride), norms[1]))
        if same:
            y = net.add(y, net.norm_with(x, norms[2]))
    return net.act(replace(y, power=power, mean=mean), "relu")
