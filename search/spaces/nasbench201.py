"""NAS-Bench-201 (arXiv 2001.00326): six edges, five operators, 15,625 cells.

Nodes 0 to 3; the edges are 0>1, 0>2, 1>2, 0>3, 1>3, 2>3. Which edges a runtime really runs
depends on its passes: a node is *forward-live* if non-zero edges lead to it from node 0 and
*backward-live* if they lead from it to node 3.

- ``none``: every edge runs (eager runtimes);
- ``bwd``: edges into nodes that never reach the output are removed (dead code);
- ``both``: edges fed only by zeros are removed as well (constant folding).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lwprof.predictors.space import Codes, Counts, Floats
from lwprof.search.spaces.coded import CodedSpace

if TYPE_CHECKING:
    import onnx

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
STAGES = ((16, 1024), (32, 256), (64, 64))  # channels, height × width; five cells in each
NAMES = ("skip", "conv1x1", "conv3x3", "pool", "additions", "depth", "conv_depth", "edges",
         "cell_mmacs")  # fmt: skip
RADIX = 5 ** np.arange(5, -1, -1)
MANY = 1000
FIXED_MMACS = 7.78304
"""Multiply-accumulates outside the cells, millions (the cell of six skips has no others)."""


class NasBench201(CodedSpace):
    """Published strings (``|nor_conv_3x3~0|+|…|``) or six digits."""

    name = "nasbench201"
    choices = (5,) * 6
    rewrites = ("none", "bwd", "both")
    spelling = "'|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|' or 301004"

    def __init__(self) -> None:
        self._tables: dict[str, Floats] = {}

    def _parse(self, architecture: Any) -> Sequence[int]:
        if isinstance(architecture, str):
            if re.fullmatch("[0-4]{6}", architecture):
                return [int(digit) for digit in architecture]
            edges = re.findall(r"([a-z0-9_]+)~(\d)", architecture)
            if [int(i) for _, i in edges] != [0, 0, 1, 0, 1, 2] or architecture.count("|") != 9:
                raise ValueError
            return [OPERATORS.index(kind) for kind, _ in edges]
        if isinstance(architecture, int | np.integer):  # leading zeros are lost in a number
            return self._parse(f"{architecture:06d}")
        return [int(choice) for choice in architecture]

    def _write(self, code: Sequence[int]) -> str:
        cell = [f"{OPERATORS[c]}~{tail}" for c, (tail, _) in zip(code, EDGES, strict=True)]
        return f"|{cell[0]}|+|{'|'.join(cell[1:3])}|+|{'|'.join(cell[3:])}|"

    def connected(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether non-zero edges lead from node 0 to node 3."""
        return _forward(codes > 0)[:, 3]

    def live(self, codes: Codes, rewrite: str) -> Codes:
        """Codes with the edges that ``rewrite`` removes set to ``none``."""
        self._known(rewrite)
        kept = codes > 0
        if rewrite != "none":
            reaches = _backward(codes > 0)
            kept = kept & reaches[:, [head for _, head in EDGES]]
        if rewrite == "both":
            fed = _forward(codes > 0)
            kept = kept & fed[:, [tail for tail, _ in EDGES]]
        return np.where(kept, codes, 0)

    def counts(self, codes: Codes, rewrite: str) -> Counts:
        """Nine counts of the edges that run; see ``NAMES``. Depths are of the longest path.

        Many codes are looked up in a table of the whole space, made on first use.
        """
        self._known(rewrite)
        if len(codes) < MANY:
            return Counts(self._count(codes, rewrite), NAMES)
        if rewrite not in self._tables:
            self._tables[rewrite] = self._count(self.all_codes(), rewrite)
        return Counts(self._tables[rewrite][codes @ RADIX], NAMES)

    def _count(self, codes: Codes, rewrite: str) -> Floats:
        live = self.live(codes, rewrite)
        kinds = [(live == kind).sum(axis=1) for kind in (1, 2, 3, 4)]
        heads = np.stack([(live[:, edges] > 0).sum(axis=1) for edges in ((0,), (1, 2), (3, 4, 5))])
        mmacs = cell_mmacs(live)
        columns = [
            *kinds, np.maximum(heads - 1, 0).sum(axis=0),
            _longest(live, np.array([0, 0, 1, 1, 1])), _longest(live, np.array([0, 0, 1, 9, 1])),
            (live > 0).sum(axis=1), mmacs,
        ]  # fmt: skip
        return np.stack(columns, axis=1).astype(np.float64)

    def mmacs(self, codes: Codes) -> Floats:
        """Multiply-accumulates of the whole CIFAR-10 network in millions, dead edges included."""
        return cell_mmacs(codes) + FIXED_MMACS

    def build(self, architecture: Any) -> onnx.ModelProto:
        """The network with this cell: 32 × 32 images, ten classes."""
        from lwprof.zoo import draw
        from lwprof.zoo.families.nasbench201 import nasbench201

        cell = self.decode(self.encode([architecture]))[0]
        model: onnx.ModelProto = draw(nasbench201, cell=cell)
        return model


def cell_mmacs(codes: Codes) -> Floats:
    """Millions of multiply-accumulates in the 15 cells: 9·C²·HW per 3×3, C²·HW per 1×1."""
    unit = 5 * sum(c * c * hw for c, hw in STAGES) / 1e6
    total: Floats = unit * ((codes == 2).sum(axis=1) + 9.0 * (codes == 3).sum(axis=1))
    return total


def _forward(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 4): nodes that non-zero edges reach from node 0."""
    live = np.zeros((len(kept), 4), dtype=bool)
    live[:, 0] = True
    for edge, (tail, head) in enumerate(EDGES):
        live[:, head] |= live[:, tail] & kept[:, edge]
    return live


def _backward(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 4): nodes from which non-zero edges reach node 3."""
    live = np.zeros((len(kept), 4), dtype=bool)
    live[:, 3] = True
    for edge, (tail, head) in reversed(list(enumerate(EDGES))):
        live[:, tail] |= live[:, head] & kept[:, edge]
    return live


def _longest(codes: Codes, weight: NDArray[np.int64]) -> Floats:
    """Length of the heaviest path from any node to node 3; 0 where there is none."""
    length = np.zeros((len(codes), 4))
    for edge, (tail, head) in reversed(list(enumerate(EDGES))):
        through = np.where(codes[:, edge] > 0, weight[codes[:, edge]] + length[:, head], 0.0)
        length[:, tail] = np.maximum(length[:, tail], through)
    return length[:, 0]
