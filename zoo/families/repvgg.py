"""RepVGG: trained as 3×3 + 1×1 + identity, deployed as one 3×3; both from the same weights."""

from lwprof.zoo.blocks import Net, Value, classifier
from lwprof.zoo.registry import network
from lwprof.zoo.reparameterisation import summed

_A0, _B0 = ((2, 48), (4, 96), (14, 192), (1, 1280)), ((4, 64), (6, 128), (16, 256), (1, 1280))


@network("repvgg_a0", stages=_A0)
@network("repvgg_a0_deploy", stages=_A0, deploy=True)
@network("repvgg_b0", stages=_B0)
@network("repvgg_b0_deploy", stages=_B0, deploy=True)
def repvgg(net: Net, stages: tuple[tuple[int, int], ...], deploy: bool = False) -> Value:
    """Table 2 of arXiv 2101.03697; ``stages`` are (depth, channels)."""
    x = block(net, net.image(), min(64, stages[0][1]), 2, deploy)
    for stage, (depth, channels) in enumerate(stages):
        for i in range(depth):
            with net.scope(f"stage{stage + 1}.{i}"):
                x = block(net, x, channels, 1 if i else 2, deploy)
    return classifier(net, x)


def block(net: Net, x: Value, out: int, stride: int, deploy: bool) -> Value:
    """Figure 4 of the paper: 3×3, 1×1 and, between equal shapes, the input itself."""
    weights = [net.draw_weight((out, x.channels, k, k)) for k in (3, 1)]
    skip = 0.5 if stride == 1 and x.channels == out else 0.0
    y = summed(net, x, weights, (0.7, 0.5), skip, stride=stride, deploy=deploy)
    return net.act(y, "relu")
