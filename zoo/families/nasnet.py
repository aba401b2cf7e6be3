"""NASNet-A: one normal and one reduction cell, written once and repeated."""

from lwprof.zoo.blocks import Net, Value, classifier, relu_separable_bn
from lwprof.zoo.registry import network

# Figure 4 of the paper. A cell has inputs 0 (its predecessor) and 1 (the one before that);
# a pair of (operation, input) is added up and becomes input 2, 3, 4 …
_NORMAL = (
    (("sep5", 0), ("sep3", 1)), (("sep5", 1), ("sep3", 1)), (("avg", 0), ("skip", 1)),
    (("avg", 1), ("avg", 1)), (("sep3", 0), ("skip", 0)),
)  # fmt: skip
_REDUCTION = (
    (("sep5", 0), ("sep7", 1)), (("max", 0), ("sep7", 1)), (("avg", 0), ("sep5", 1)),
    (("avg", 2), ("skip", 3)), (("sep3", 2), ("max", 0)),
)  # fmt: skip


@network("nasnet_large", resolution=331)
@network("nasnet_mobile", filters=1056, stem=32, repeats=4)
def nasnet(net: Net, filters: int = 4032, stem: int = 96, repeats: int = 6) -> Value:
    """NASNet-A (``repeats`` @ ``filters``) of arXiv 1707.07012."""
    net.eps = 1e-3
    channels = filters // 24
    first = net.batch_norm(net.conv(net.image(), stem, 3, 2, pad=0))
    second = _cell(net, first, first, channels // 4, True, "stem0", raw=True)
    cells = [first, second, _cell(net, second, first, channels // 2, True, "stem1")]
    for stage in range(3):
        if stage:
            x = _cell(net, cells[-1], cells[-2], channels << stage, True, f"reduction{stage}")
            # The first cell behind a reduction looks back past the cell that fed it.
            cells = [cells[-2], x]
        for i in range(repeats):
            cells.append(_cell(net, cells[-1], cells[-2], channels << stage, False,
                               f"cell{stage * repeats + i}"))  # fmt: skip
    return classifier(net, net.act(cells[-1], "relu"))


def _cell(
    net: Net, x: Value, before: Value, channels: int, reduce: bool, name: str, raw: bool = False
) -> Value:
    with net.scope(name):
        values = [_fit(net, x, x, channels), before if raw else _fit(net, before, x, channels)]
        for pair in _REDUCTION if reduce else _NORMAL:
            sides = [_operation(net, kind, values[i], channels, 2 if reduce and i < 2 else 1)
                     for kind, i in pair]  # fmt: skip
            values.append(net.add(*sides))
        return net.concat(values[3:] if reduce else values[1:])


def _fit(net: Net, x: Value, like: Value, channels: int) -> Value:
    """``x`` with ``channels`` channels, at the resolution of ``like``."""
    x = net.act(x, "relu")
    if x.shape[2:] == like.shape[2:]:
        return net.batch_norm(net.conv(x, channels, 1))
    # Two 1×1 convolutions on the even and the odd pixels.
    halves = [net.conv(net.pool(y, "avg", 1, 2), channels // 2, 1) for y in (x, net.shift(x))]
    return net.batch_norm(net.concat(halves))


def _operation(net: Net, kind: str, x: Value, channels: int, stride: int) -> Value:
    if kind == "skip":
        return x
    if not kind.startswith("sep"):
        return net.pool(x, kind, 3, stride, 1)
    # The first cell's raw input is widened by the first of the two convolutions.
    x = relu_separable_bn(net, x, channels, int(kind[3:]), stride)
    return relu_separable_bn(net, x, channels, int(kind[3:]))
