"""NAS-Bench-201 (arXiv 2001.00326): any of the 15,625 cells, in the benchmark's skeleton."""

import math
import re
from collections import Counter
from dataclasses import replace
from functools import reduce

from lwprof.errors import UsageError
from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, relu_conv_bn
from lwprof.zoo.registry import network

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_LINEAR = ("skip_connect", "avg_pool_3x3")  # operations that pass their input on


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
            f"{cell!r} is no NAS-Bench-201 cell: write six digits from 0 to 4 or like "
            "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
        )
    return tuple(kind for kind, _ in edges)


@network("nasbench201_best", resolution=32, classes=10, cell="333132")
@network("nasbench201_largest", resolution=32, classes=10, cell="333333")
@network("nasbench201_smallest", resolution=32, classes=10, cell="111111")
def nasbench201(net: Net, cell: str, channels: int = 16, repeats: int = 5) -> Value:
    """Three stages of ``repeats`` cells with residual blocks of stride 2 between them.

    A cell adds up several copies of its input where edges are skipped, four at most: a stage
    then starts as far below one as it ends above it.
    """
    operations = parse(cell)
    gain = max(1.0, _shares(operations)[-1]) ** (-repeats / 2)
    x = conv_bn(net, net.image(), channels, 3, 1, None, gain=gain)
    for stage in range(3):
        if stage:
            x = _residual(net, x, channels << stage, gain)
        for i in range(repeats):
            with net.scope(f"cell{stage}.{i}"):
                x = _cell(net, x, operations)
    return classifier(net, net.act(net.batch_norm(x), "relu"))


def _shares(operations: tuple[str, ...]) -> list[float]:
    """How many times the cell's input, skipped or pooled, is in the sum of each node."""
    shares, edge = [1.0], iter(operations)
    for _ in range(3):
        shares.append(sum(s * (next(edge) in _LINEAR) for s in shares))
    return shares


def _cell(net: Net, x: Value, operations: tuple[str, ...]) -> Value:
    # Copies of one map add up in size, which `add` does not know: count them in each node.
    nodes, edge = [(x, Counter([x]))], iter(operations)
    for _ in range(3):
        incoming, copies = [], Counter[Value]()
        for node, sources in nodes:
            kind = next(edge)
            incoming.append(_edge(net, kind, node))
            copies.update(sources if kind in _LINEAR else incoming[-1:])
        power = sum(count**2 * source.power for source, count in copies.items())
        mean = sum(count * source.mean for source, count in copies.items())
        nodes.append((replace(reduce(net.add, incoming), power=power, mean=mean), copies))
    return nodes[-1][0]


def _edge(net: Net, kind: str, x: Value) -> Value:
    if kind == "none":
        return net.op("Mul", [x, net.number(0)], x.shape, 1e-12)
    if kind == "skip_connect":
        return x
    if kind == "avg_pool_3x3":
        return net.pool(x, "avg", 3, 1, 1)
    return relu_conv_bn(net, x, x.channels, int(kind[-1]))


def _residual(net: Net, x: Value, out: int, gain: float) -> Value:
    y = net.conv(net.act(relu_conv_bn(net, x, out, 3, 2), "relu"), out, 3)
    x = net.pool(x, "avg", 2, 2)
    weight = net.draw((out, x.channels, 1, 1), gain / math.sqrt(x.channels * x.power))
    return net.add(replace(net.conv_with(x, weight), power=gain**2), net.batch_norm(y, gain))
