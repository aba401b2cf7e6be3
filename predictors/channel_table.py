"""Costs of a network as a function of how many channels each of its groups keeps.

table = cost.channels(model)
table.predict(widths)        # (n, groups) → (n, quantities), vectorised
table.expected(fractions)    # of kept channels, 0 to 1; torch in, torch out, differentiable

With x the kept share of every group, a cost is

    base + Σ_g (a_g·(x_g² − 1) + line_g(x_g)) + Σ_(g,h) c_gh·(x_g − 1)·(x_h − 1)

where the lines are piecewise linear between the widths that were priced, and the pairs are the
groups that meet in one operator: a convolution's work is bilinear in its input's and its output's
channels (the form of ECC, Yang et al., CVPR 2019). Exact for the whole network, for every width
priced with the others whole, and for any cost linear in MACs, parameters and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats
from lwprof.predictors.tabulate import ADDITIVE, Coster

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Kept shares at which each group is priced; nought stands for one channel."""


class ChannelStructure(Protocol):
    """What a network's channels are; ``lwprof.compression.graph`` finds it.

    Attributes:
        names: of the groups.
        widths: (groups,) channels of each, whole.
        pairs: groups that meet in one operator, as pairs of places, the smaller first.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        ...

    @property
    def widths(self) -> Any:
        """(groups,) channels of each group."""
        ...

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Groups that meet in one operator."""
        ...

    def resize(self, widths: Any) -> Any:
        """The model with so many channels kept in each group, (groups,) of int."""
        ...


class ChannelTable:
    """Costs of widths.

    Args:
        groups: names of the groups.
        widths: (groups,) whole widths.
        base: (quantities,) costs of the whole network.
        squares: (groups, quantities), the a_g.
        knots: by group, (k,) kept shares, ascending, the last one 1.
        lines: by group, (k, quantities) values at the knots, the last one 0.
        pairs: (p, 2) places of groups; ``products``: (p, quantities), the c_gh.
        quantities: names of the columns, SI units in them.
        source: ``interpolated`` where a cost model priced the widths.
        origin: ``measured_here`` or ``imported``.

    Raises:
        UsageError: shapes do not fit together, or a number is not finite.
    """

    def __init__(
        self, groups: Sequence[str], widths: Any, base: Any, squares: Any, knots: Sequence[Any],
        lines: Sequence[Any], pairs: Any = (), products: Any = (),
        quantities: Sequence[str] = ("latency_s",), source: str = "interpolated",
        origin: str = "measured_here",
    ) -> None:  # fmt: skip
        self.groups, self.quantities = tuple(groups), tuple(quantities)
        self.source, self.origin = source, origin
        self.widths = np.asarray(widths, dtype=np.int64)
        self.base: Floats = np.asarray(base, dtype=np.float64)
        count, q = len(self.groups), len(self.quantities)
        self.squares: Floats = np.asarray(squares, dtype=np.float64).reshape(count, q)
        self.pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        self.products: Floats = np.asarray(products, dtype=np.float64).reshape(-1, q)
        self.knots = [np.asarray(k, dtype=np.float64) for k in knots]
        self.lines = [np.asarray(v, dtype=np.float64).reshape(-1, q) for v in lines]
        fits = (self.widths.shape == (count,) and len(self.knots) == len(self.lines) == count
                and len(self.pairs) == len(self.products)
                and all(len(k) == len(v) for k, v in zip(self.knots, self.lines, strict=True)))  # fmt: skip
        numbers = [self.base, self.squares, self.products, *self.knots, *self.lines]
        if not fits or not all(np.isfinite(n).all() for n in numbers):
            raise UsageError("a channel table needs a finite cost for every group, knot and pair")

    @classmethod
    def build(
        cls, cost: Coster, found: ChannelStructure, shares: Sequence[float] = SHARES
    ) -> ChannelTable:
        """Prices the network whole, with each group at each share, and with each pair halved.

        Args:
            cost: a cost model; asked once per network, 1 + groups · (shares − 1) + pairs.
            found: the network's channels.
            shares: kept shares to price between nought (one channel) and 1.

        Raises:
            CostMiss: a kernel of one of the networks is unknown to the cost model.
            UsageError: nothing can be pruned, or no column adds up over operators.
        """
        whole = np.asarray(found.widths, dtype=np.int64)
        if not len(whole):
            raise UsageError("no channel of this model can be removed, so there is nothing to "
                             "price: lwprof prune MODEL names what stands in the way")  # fmt: skip
        base = _priced(cost, found, whole)
        kept = [i for i, name in enumerate(cost.quantities)
                if name in ADDITIVE and np.isfinite(base[i])]  # fmt: skip
        if not kept:
            raise UsageError(f"no column of {', '.join(cost.quantities)} adds up over operators: "
                             f"a channel table needs one of {', '.join(ADDITIVE)}")  # fmt: skip
        squares, knots, lines, halves = [], [], [], []
        for group, width in enumerate(whole):
            counts = np.unique([max(1, round(s * width)) for s in (*shares, 1.0)])
            costs = np.stack([_priced(cost, found, _with(whole, {group: int(c)}))[kept]
                              for c in counts[:-1]] + [base[kept]]) - base[kept]  # fmt: skip
            square = _curvature(counts / width, costs)
            squares.append(square)
            knots.append(counts / width)
            lines.append(costs - np.outer((counts / width) ** 2 - 1, square))
            middle = (len(counts) - 1) // 2
            halves.append((int(counts[middle]), costs[middle]))
        pairs = [(a, b) for a, b in found.pairs if a != b and min(whole[a], whole[b]) > 1]
        products = []
        for a, b in pairs:
            both = _priced(cost, found, _with(whole, {a: halves[a][0], b: halves[b][0]}))[kept]
            left = (halves[a][0] / whole[a] - 1) * (halves[b][0] / whole[b] - 1)
            products.append((both - base[kept] - halves[a][1] - halves[b][1]) / left)
        names = [cost.quantities[i] for i in kept]
        return cls(found.names, whole, base[kept], squares, knots, lines, pairs, products, names)

    @classmethod
    def bilinear(
        cls, groups: Sequence[str], widths: Any, coefficients: Any, bias: float,
        quantity: str = "energy_j", source: str = "predicted", origin: str = "imported",
    ) -> ChannelTable:  # fmt: skip
        """bias + Σ_l c_l · x_l · x_(l+1) over a chain of groups: the form in which ECC ships its
        measured boards (Yang et al., CVPR 2019).

        Args:
            coefficients: (groups − 1,), one for each layer between two groups.
        """
        c = np.asarray(coefficients, dtype=np.float64)
        if c.shape != (len(groups) - 1,):
            raise UsageError(f"a chain of {len(groups)} groups has {len(groups) - 1} layers, not "
                             f"{c.size} coefficients")  # fmt: skip
        # x·y = (x − 1)(y − 1) + x + y − 1, and lines are nought at 1.
        slope = np.append(c, 0) + np.append(0, c)
        lines = [[[-s], [0.0]] for s in slope]
        pairs = [(i, i + 1) for i in range(len(c))]
        return cls(groups, widths, [bias + c.sum()], np.zeros((len(groups), 1)),
                   [[0.0, 1.0]] * len(groups), lines, pairs, c[:, None], (quantity,), source,
                   origin)  # fmt: skip

    def predict(self, widths: Any) -> Floats:
        """(n, quantities) costs of kept channels per group.

        Args:
            widths: whole numbers, (n, groups), from 1 to the whole width.

        Raises:
            UsageError: another shape, or a width outside what was priced.
        """
        given = np.asarray(widths)
        if given.ndim != 2 or given.shape[1] != len(self.groups) or given.dtype.kind not in "iu":
            raise UsageError(f"channel table: widths must be whole numbers of shape "
                             f"(n, {len(self.groups)}), not {given.dtype} of {given.shape}")  # fmt: skip
        outside = (given < 1) | (given > self.widths)
        if outside.any():
            row, group = np.argwhere(outside)[0]
            raise UsageError(f"channel table: {self.groups[group]} keeps 1 to "
                             f"{self.widths[group]} channels, not {given[row, group]}")  # fmt: skip
        shares = given / self.widths
        total = self.base + (shares**2 - 1) @ self.squares
        for group, (knots, values) in enumerate(zip(self.knots, self.lines, strict=True)):
            for column in range(values.shape[1]):
                total[:, column] += np.interp(shares[:, group], knots, values[:, column])
        if len(self.pairs):
            off = shares - 1
            total = total + (off[:, self.pairs[:, 0]] * off[:, self.pairs[:, 1]]) @ self.products
        return total

    def expected(self, fractions: Any) -> Any:
        """(…, quantities) costs when group g keeps the share ``fractions[…, g]`` of its channels.

        Args:
            fractions: (…, groups) from 0 to 1, numpy or torch. A torch tensor gives a torch
                tensor, differentiable; below the smallest width priced the last line goes on.
        """
        if type(fractions).__module__.split(".")[0] == "torch":
            return self._sum(fractions, fractions.new_tensor, lambda x: x.clamp(min=0))
        values = np.asarray(fractions, dtype=np.float64)
        if values.shape[-1:] != (len(self.groups),):
            raise UsageError(f"channel table: fractions must end in ({len(self.groups)},), not "
                             f"{values.shape}")  # fmt: skip
        return self._sum(values, np.asarray, lambda x: np.maximum(x, 0))

    def _sum(self, shares: Any, array: Any, positive: Any) -> Any:
        total = array(self.base.tolist()) + (shares**2 - 1) @ array(self.squares.tolist())
        for group, (knots, values) in enumerate(zip(self.knots, self.lines, strict=True)):
            if len(knots) == 1:
                continue
            # From the right: a slope for the last stretch, and a hinge where it changes.
            slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
            x = shares[..., group : group + 1]
            total = total + (x - 1) * array(slopes[-1].tolist())
            for place in range(len(slopes) - 1, 0, -1):
                bend = slopes[place] - slopes[place - 1]
                total = total + positive(float(knots[place]) - x) * array(bend.tolist())
        if len(self.pairs):
            off = shares - 1
            first, second = self.pairs[:, 0].tolist(), self.pairs[:, 1].tolist()
            total = total + (off[..., first] * off[..., second]) @ array(self.products.tolist())
        return total


def _priced(cost: Coster, found: ChannelStructure, widths: Any) -> Floats:
    priced: Floats = np.asarray(cost.predict([found.resize(widths)]).mean, dtype=np.float64)[0]
    return priced


def _with(whole: Any, changes: dict[int, int]) -> Any:
    widths = whole.copy()
    for group, width in changes.items():
        widths[group] = width
    return widths


def _curvature(shares: Floats, costs: Floats) -> Floats:
    """(quantities,) the a in a·(x² − 1) + b·(x − 1) by least squares; nought below four knots,
    where it would follow a step instead of a trend."""
    if len(shares) < 4:
        return np.zeros(costs.shape[1])
    rows = np.stack([shares**2 - 1, shares - 1], axis=1)
    found: Floats = np.linalg.lstsq(rows, costs, rcond=None)[0][0]
    return found
