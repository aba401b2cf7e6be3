"""Cells: NASNet's (arXiv 1707.07012) and DARTS's (arXiv 1806.09055), a normal and a reduction cell.

A node adds two operations on earlier values; the cell is written once and repeated, so a table
has one entry for each block of the two cells. What no later node and no output uses is dead.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from lwprof.search.spaces.options import SMALL_IMAGES, OptionSpace
from lwprof.zoo.blocks import Net, Value, classifier, relu_conv_bn, relu_separable_bn

DARTS_OPERATORS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3",
                   "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")  # fmt: skip
NASNET_OPERATORS = ("skip", "avg", "max", "sep3", "sep5", "sep7")
KINDS = ("normal", "reduce")


class DartsCells(OptionSpace):
    """Four nodes in each cell: two different inputs, and an operator for each."""

    name = "darts"
    drawing = SMALL_IMAGES

    def __init__(self, channels: int = 16, layers: int = 8) -> None:
        self._channels, self._layers = channels, layers
        blocks: dict[str, Any] = {}
        for kind, node in itertools.product(KINDS, range(2, 6)):
            pairs = itertools.combinations(range(node), 2)
            blocks[f"{kind}{node}_inputs"] = tuple(f"{a}+{b}" for a, b in pairs)
            for side in "ab":
                blocks[f"{kind}{node}_{side}"] = DARTS_OPERATORS
        super().__init__(blocks)

    def draw(self, net: Net, **values: Any) -> Value:
        """The CIFAR-10 network, of the depth and channels that the space was made with."""
        from lwprof.zoo.families.darts import darts

        cells = [_genotype(values, kind) for kind in KINDS]
        function: Any = darts
        found: Value = function(net, self._channels, self._layers, *cells)
        return found


def _genotype(values: Mapping[str, Any], kind: str) -> tuple[tuple[str, int], ...]:
    found = []
    for node in range(2, 6):
        inputs = values[f"{kind}{node}_inputs"].split("+")
        for side, source in zip("ab", inputs, strict=True):
            found.append((values[f"{kind}{node}_{side}"], int(source)))
    return tuple(found)


class NasNetCells(OptionSpace):
    """Five nodes in each cell: an operator and an input on either side.

    Nodes that no other uses are concatenated; all of them reach the output, so nothing is dead.
    """

    name = "nasnet"
    drawing = SMALL_IMAGES

    def __init__(self, channels: int = 16, repeats: int = 2) -> None:
        self._channels, self._repeats = channels, repeats
        blocks: dict[str, Any] = {}
        for kind, node, side in itertools.product(KINDS, range(2, 7), "ab"):
            blocks[f"{kind}{node}_{side}"] = NASNET_OPERATORS
            blocks[f"{kind}{node}_{side}_from"] = tuple(range(node))
        super().__init__(blocks)

    def draw(self, net: Net, **values: Any) -> Value:
        """A CIFAR-10 network of three stages, reduction cells between them."""
        before = x = net.batch_norm(net.conv(net.image(), self._channels, 3))
        for stage in range(3):
            for i in range(self._repeats + (stage > 0)):
                kind = KINDS[stage > 0 and i == 0]
                with net.scope(f"stage{stage}_{i}"):
                    y = _nasnet_cell(net, before, x, self._channels << stage, values, kind)
                before, x = x, y
        return classifier(net, net.act(x, "relu"))


def _nasnet_cell(net: Net, before: Value, x: Value, channels: int, values: Mapping[str, Any],
                 kind: str) -> Value:  # fmt: skip
    fit = 1 if before.shape[2:] == x.shape[2:] else 2
    nodes = [relu_conv_bn(net, x, channels), relu_conv_bn(net, before, channels, 1, fit)]
    used = set()
    for node in range(2, 7):
        sides = []
        for side in "ab":
            source = values[f"{kind}{node}_{side}_from"]
            stride = 2 if kind == "reduce" and source < 2 else 1
            used.add(source)
            sides.append(_operation(net, values[f"{kind}{node}_{side}"], nodes[source], stride))
        nodes.append(net.add(*sides))
    return net.concat([value for i, value in enumerate(nodes) if i > 1 and i not in used])


def _operation(net: Net, kind: str, x: Value, stride: int) -> Value:
    if kind == "skip":
        return x if stride == 1 else relu_conv_bn(net, x, x.channels, 1, stride)
    if kind in ("avg", "max"):
        return net.pool(x, kind, 3, stride, 1)
    x = relu_separable_bn(net, x, x.channels, int(kind[3:]), stride)
    return relu_separable_bn(net, x, x.channels, int(kind[3:]))
