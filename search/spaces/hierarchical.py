"""The hierarchical space (arXiv 1711.00436): operators make motifs, motifs make the cell.

Level 2 holds six motifs, each a graph of four nodes whose six edges are primitive operators;
level 3 is the cell, five nodes whose ten edges are motifs. A code has 6 × 6 + 10 blocks. What is
not on a path from first to last node is dead, on either level, and is not drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.predictors.space import Codes
from lwprof.search.spaces.options import SMALL_IMAGES, OptionSpace
from lwprof.zoo.blocks import Net, Value, classifier, conv_bn, depthwise, relu_separable_bn

PRIMITIVES = ("none", "identity", "conv1x1", "depthwise3x3", "separable3x3", "max3x3", "avg3x3")
MOTIFS, MOTIF_NODES, CELL_NODES = 6, 4, 5
MOTIF_EDGES = tuple(itertools.combinations(range(MOTIF_NODES), 2))
CELL_EDGES = tuple(itertools.combinations(range(CELL_NODES), 2))
CELL_OPTIONS = ("none", *(f"motif{m}" for m in range(MOTIFS)))
FIRST_OF_CELL = MOTIFS * len(MOTIF_EDGES)


class Hierarchical(OptionSpace):
    """36 edges of motifs, then ten of the cell."""

    name = "hierarchical"
    rewrites = ("none", "both")
    drawing = SMALL_IMAGES

    def __init__(self, channels: int = 16) -> None:
        self._channels = channels
        blocks: dict[str, Any] = {
            f"m{m}_{a}>{b}": PRIMITIVES for m in range(MOTIFS) for a, b in MOTIF_EDGES
        }
        super().__init__(blocks | {f"cell_{a}>{b}": CELL_OPTIONS for a, b in CELL_EDGES})

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """After ``both``: edges off every path are none, and so are motifs that nothing uses."""
        self._known(rewrite)
        if rewrite == "none":
            return codes
        out = codes.copy()
        joined = np.zeros((len(codes), MOTIFS + 1), dtype=bool)
        for m in range(MOTIFS):
            part = slice(m * len(MOTIF_EDGES), (m + 1) * len(MOTIF_EDGES))
            kept = on_a_path(codes[:, part] > 0, MOTIF_EDGES, MOTIF_NODES)
            out[:, part] = np.where(kept, codes[:, part], 0)
            joined[:, m + 1] = kept.any(axis=1)
        cell = codes[:, FIRST_OF_CELL:]
        kept = on_a_path(np.take_along_axis(joined, cell, axis=1), CELL_EDGES, CELL_NODES)
        out[:, FIRST_OF_CELL:] = np.where(kept, cell, 0)
        for m in range(MOTIFS):
            used = (out[:, FIRST_OF_CELL:] == m + 1).any(axis=1)
            part = slice(m * len(MOTIF_EDGES), (m + 1) * len(MOTIF_EDGES))
            out[:, part] = np.where(used[:, None], out[:, part], 0)
        return out

    def connected(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether operators lead from the cell's first node to its last."""
        cell = self.live(codes, "both")[:, FIRST_OF_CELL:]
        found: NDArray[np.bool_] = np.any(cell > 0, axis=1)
        return found

    def draw(self, net: Net, **values: Any) -> Value:
        """Three cells with strided convolutions between them; dead parts are left out."""
        code = self.live(self.encode([values]), "both")[0].tolist()
        x = conv_bn(net, net.image(), self._channels, 3)
        for stage in range(3):
            if stage:
                x = conv_bn(net, x, self._channels << stage, 3, 2)
            with net.scope(f"cell{stage}"):
                x = self._cell(net, x, code)
        return classifier(net, x)

    def _cell(self, net: Net, x: Value, code: Sequence[int]) -> Value:
        def motif(which: int, y: Value) -> Value:
            first = (which - 1) * len(MOTIF_EDGES)
            kinds = dict(zip(MOTIF_EDGES, code[first : first + len(MOTIF_EDGES)], strict=True))
            return _compose(net, y, kinds, MOTIF_NODES, lambda k, z: _primitive(net, k, z))

        edges = dict(zip(CELL_EDGES, code[FIRST_OF_CELL:], strict=True))
        if not any(edges.values()):
            return net.op("Mul", [x, net.number(0)], x.shape)
        return _compose(net, x, edges, CELL_NODES, motif)


def on_a_path(
    kept: NDArray[np.bool_], edges: Sequence[tuple[int, int]], nodes: int
) -> NDArray[np.bool_]:
    """(n, edges): which kept edges lie on a path from the first node to the last."""
    fed = np.zeros((len(kept), nodes), dtype=bool)
    reaches = np.zeros((len(kept), nodes), dtype=bool)
    fed[:, 0] = reaches[:, -1] = True
    for i, (tail, head) in sorted(enumerate(edges), key=lambda e: e[1][1]):
        fed[:, head] |= fed[:, tail] & kept[:, i]
    for i, (tail, head) in sorted(enumerate(edges), key=lambda e: -e[1][0]):
        reaches[:, tail] |= reaches[:, head] & kept[:, i]
    tails, heads = zip(*edges, strict=True)
    return kept & fed[:, list(tails)] & reaches[:, list(heads)]


def _compose(net: Net, x: Value, edges: Mapping[tuple[int, int], int], nodes: int,
             make: Any) -> Value:  # fmt: skip
    """The last node, each node the sum of what its edges make of earlier ones."""
    values: list[Value | None] = [x, *(None,) * (nodes - 1)]
    for head in range(1, nodes):
        for tail in range(head):
            kind, source = edges[tail, head], values[tail]
            if kind and source is not None:
                made, sofar = make(kind, source), values[head]
                values[head] = made if sofar is None else net.add(sofar, made)
    last = values[-1]
    assert last is not None  # dead edges were taken out before
    return last


def _primitive(net: Net, kind: int, x: Value) -> Value:
    name = PRIMITIVES[kind]
    if name == "identity":
        return x
    if name == "conv1x1":
        return conv_bn(net, x, x.channels, 1)
    if name == "depthwise3x3":
        return depthwise(net, x, 3)
    if name == "separable3x3":
        return relu_separable_bn(net, x, x.channels, 3)
    return net.pool(x, name[:3], 3, 1, 1)
