"""A block table from a cost model: networks that differ from one in a single block."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.predictors.space import Codes, Floats, Space

ADDITIVE = ("latency_s", "energy_j")
"""Quantities that add up over blocks; a peak is a maximum and does not."""


class Coster(Protocol):
    """The part of a cost model that tabulating needs."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the columns that ``predict`` answers."""
        ...

    def predict(self, models: Any) -> Any:
        """Costs of models: ``.mean`` of shape (models, quantities)."""
        ...


def tabulate(cost: Coster, space: Space) -> BlockTable:
    """Costs of every choice of every block: 1 + Σ (choices − 1) networks, each priced once.

    Each network differs in one block from the one whose choices are the middle ones (the first
    may be none, which leaves whole networks dead), so an effect is a difference of two whole
    networks, fusion at the block's edges included; what two blocks do to each other is not. The
    table's source says ``additive``. Columns without a cost for
    every network, and those that do not add up over blocks, are left out.

    Raises:
        CostMiss: a kernel of one of the networks is unknown to the cost model.
        UsageError: the space cannot build networks, or no column adds up.
    """
    codes = _one_apart(space)
    # One at a time: a graph holds its weights, and a space has hundreds of them.
    mean = np.concatenate([cost.predict([space.build(text)]).mean for text in space.decode(codes)])
    kept = [i for i, name in enumerate(cost.quantities)
            if name in ADDITIVE and np.isfinite(mean[:, i]).all()]  # fmt: skip
    if not kept:
        raise UsageError(f"no column of {', '.join(cost.quantities)} adds up over the blocks of "
                         f"{space.name}: a block table needs one of {', '.join(ADDITIVE)}")  # fmt: skip
    costs, base = _effects(space.choices, mean[:, kept])
    names = [cost.quantities[i] for i in kept]
    return BlockTable(space.choices, costs, base, names, source="additive")


def _one_apart(space: Space) -> Codes:
    """The middle code, then each block's other choices in order: (1 + Σ (c − 1), blocks)."""
    rows = [np.array(space.choices, dtype=np.int64) // 2]
    for block, options in enumerate(space.choices):
        for choice in np.delete(np.arange(options), options // 2):
            row = rows[0].copy()
            row[block] = choice
            rows.append(row)
    return np.stack(rows)


def _effects(choices: tuple[int, ...], mean: Floats) -> tuple[Floats, Floats]:
    """Costs (blocks, most choices, q), a block's cheapest at nought, and the base (q,)."""
    costs = np.full((len(choices), max(choices), mean.shape[1]), np.nan)
    base = mean[0].copy()
    row = 1
    for block, options in enumerate(choices):
        effects = np.insert(mean[row : row + options - 1] - mean[0], options // 2, 0.0, axis=0)
        costs[block, :options] = effects - effects.min(axis=0)
        base += effects.min(axis=0)
        row += options - 1
    return costs, base
