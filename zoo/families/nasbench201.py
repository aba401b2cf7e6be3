"""NAS-Bench-201: any of the 15,625 cells, in the benchmark's skeleton."""

import re

from lwprof.errors import UsageError
from lwprof.zoo.blocks import classifier, conv_bn
from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_PAPER = "NAS-Bench-201: Extending the Scope of Reproducible NAS, arXiv 2001.00326"
_SOURCE = "NAS-Bench-201's table, CIFAR-10"


def parse(cell: str) -> tuple[str, ...]:
    """Operations of the edges 0>1, 0>2, 1>2, 0>3, 1>3, 2>3 from a published string or six digits.

    Raises:
        UsageError: neither of the two forms.
    """
    if re.fullmatch("[0-4]{6}", cell):
        return tuple(OPERATIONS[int(digit)] for digit in cell)
    edges = re.findall(r"([a-z0-9_]+)~(\d)", cell)
    if [int(i) for _, i in edges] != [0, 0, 1, 0, 1, 2] or {k for k, _ in edges} - {*OPERATIONS}:
        raise UsageError(
            f"{cell!r} is no NAS-Bench-201 cell: write it like "
            "'|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|' "
            "or as six digits from 0 to 4"
        )
    return tuple(kind for kind, _ in edges)


@network("nasbench201_best", 2020, _PAPER, 1_073_466, 153.27e6, _SOURCE, resolution=32, classes=10,
         cell="333132")  # fmt: skip
@network("nasbench201_largest", 2020, _PAPER, 1_531_546, 220.11969e6, _SOURCE, resolution=32,
         classes=10, cell="333333")  # fmt: skip
@network("nasbench201_smallest", 2020, _PAPER, 73_306, 7.78305e6, _SOURCE, resolution=32,
         classes=10, cell="111111")  # fmt: skip
def nasbench201(net: Net, cell: str, channels: int = 16, repeats: int = 5) -> Value:
    """Three stages of ``repeats`` cells with residual blocks of stride 2 between them."""
    operations = parse(cell)
    x = conv_bn(net, net.image(), channels, 3, 1, None)
    for stage in range(3):
        if stage:
            x = _residual(net, x, channels << stage)
        for i in range(repeats):
            with net.scope(f"cell{stage}.{i}"):
                x = _cell(net, x, operations)
    return classifier(net, net.act(net.batch_norm(x), "relu"))


def _cell(net: Net, x: Value, operations: tuple[str, ...]) -> Value:
    nodes, edge = [x], iter(operations)
    for _ in range(3):
        incoming = [_edge(net, next(edge), node) for node in nodes]
        total = incoming[0]
        for value in incoming[1:]:
            total = net.add(total, value)
        nodes.append(total)
    return nodes[-1]


def _edge(net: Net, kind: str, x: Value) -> Value:
    if kind == "none":
        return net.op("Mul", [x, net.number(0)], x.shape, 1e-12)
    if kind == "skip_connect":
        return x
    if kind == "avg_pool_3x3":
        return net.pool(x, "avg", 3, 1, 1)
    return _relu_conv_bn(net, x, x.channels, int(kind[-1]))


def _relu_conv_bn(net: Net, x: Value, out: int, kernel: int, stride: int = 1) -> Value:
    return net.batch_norm(net.conv(net.act(x, "relu"), out, kernel, stride))


def _residual(net: Net, x: Value, out: int) -> Value:
    y = _relu_conv_bn(net, _relu_conv_bn(net, x, out, 3, 2), out, 3)
    return net.add(net.conv(net.pool(x, "avg", 2, 2), out, 1), y)
