"""Once-for-all (arXiv 1908.09791): sub-networks of MobileNetV3 by depth, kernel, expansion."""

from collections.abc import Sequence

from lwprof.errors import UsageError
from lwprof.zoo.blocks import Net, Value, conv_bn, inverted_residual, rounded
from lwprof.zoo.registry import network

# channels, stride, activation, squeeze-excite of the five elastic stages
_STAGES = ((24, 2, "relu", 0), (40, 2, "relu", 1), (80, 2, "hard_swish", 0),
           (112, 1, "hard_swish", 1), (160, 2, "hard_swish", 1))  # fmt: skip


@network("ofa_mobilenet_v3_largest", width=1.0)
@network("ofa_mobilenet_v3_middle", width=1.0, depths=(3,) * 5, kernels=(5,) * 20,
         expansions=(4,) * 20)  # fmt: skip
@network("ofa_mobilenet_v3_smallest", width=1.0, depths=(2,) * 5, kernels=(3,) * 20,
         expansions=(3,) * 20)  # fmt: skip
def ofa_mobilenet_v3(
    net: Net, depths: Sequence[int] = (4,) * 5, kernels: Sequence[int] = (7,) * 20,
    expansions: Sequence[int] = (6,) * 20,
) -> Value:  # fmt: skip
    """A sub-network: ``depths`` per stage; ``kernels``, ``expansions`` per block, four a stage.

    Raises:
        UsageError: not five depths of 2 to 4, or not twenty kernels and expansions.
    """
    if len(depths) != 5 or not {*depths} <= {2, 3, 4} or {len(kernels), len(expansions)} != {20}:
        raise UsageError("an OFA sub-network has 5 depths of 2 to 4, 20 kernels, 20 expansions")
    x = conv_bn(net, net.image(), rounded(16 * net.width), 3, 2, "hard_swish")
    x = inverted_residual(net, x, rounded(16 * net.width), x.channels, act="relu")
    for stage, (channels, stride, act, squeezed) in enumerate(_STAGES):
        for i in range(depths[stage]):
            hidden = rounded(round(x.channels * expansions[4 * stage + i]))
            with net.scope(f"stage{stage}.{i}"):
                x = inverted_residual(
                    net, x, rounded(channels * net.width), hidden, kernels[4 * stage + i],
                    1 if i else stride, act, squeeze=squeezed and rounded(hidden // 4),
                    gate="hard_sigmoid",
                )  # fmt: skip
    x = net.global_pool(conv_bn(net, x, rounded(960 * net.width), 1, act="hard_swish"))
    x = net.act(net.conv(x, rounded(1280 * net.width), 1), "hard_swish")
    return net.linear(net.flatten(x), net.classes)
