"""Costs of a network whose layers may take any bit widths: one entry per layer and widths.

The form of HAQ's tables (Wang et al., CVPR 2019): cycles of an accelerator that works through
weights and activations bit by bit, by layer, weight bits and activation bits. They come from a
simulator, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats

COLUMNS = ("layer", "w_bits", "a_bits", "cycles")


class BitTable:
    """Costs by layer, weight bits and activation bits; a network costs the sum of its layers.

    Args:
        costs: (layers, most weight bits + 1, most activation bits + 1); NaN where unknown.
        unit: of the costs.
        source, origin: what the costs are labelled.
    """

    def __init__(
        self, costs: Any, unit: str = "cycles", source: str = "simulated", origin: str = "imported"
    ) -> None:
        self.costs: Floats = np.asarray(costs, dtype=np.float64)
        self.unit, self.source, self.origin = unit, source, origin

    @property
    def layers(self) -> int:
        """How many layers the network has."""
        return len(self.costs)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], **labels: str) -> BitTable:
        """From rows with ``layer``, ``w_bits``, ``a_bits`` and ``cycles``.

        Raises:
            UsageError: no rows, a missing column, a number that is none or not positive, an
                entry twice, or a layer left out; the row is named.
        """
        entries: dict[tuple[int, int, int], float] = {}
        for number, row in enumerate(rows, 1):
            lacking = [name for name in COLUMNS if row.get(name) in (None, "")]
            if lacking:
                raise UsageError(f"bit table: row {number} lacks {', '.join(lacking)}: the columns "
                                 f"are {', '.join(COLUMNS)}")  # fmt: skip
            try:
                key = (int(row["layer"]), int(row["w_bits"]), int(row["a_bits"]))
                cost = float(row["cycles"])
            except ValueError:
                raise UsageError(
                    f"bit table: row {number} holds {dict(row)}, not numbers"
                ) from None
            sound = 0 <= key[0] < 10_000 and all(1 <= bits <= 64 for bits in key[1:])
            if not (sound and np.isfinite(cost) and cost > 0):
                raise UsageError(f"bit table: row {number} holds {dict(row)}: cycles are positive, "
                                 "bits 1 to 64, layers count from 0")  # fmt: skip
            if key in entries:
                raise UsageError(f"bit table: row {number} gives layer {key[0]} at {key[1]}/{key[2]} "
                                 "bits twice")  # fmt: skip
            entries[key] = cost
        if not entries:
            raise UsageError(f"bit table: empty; the columns are {', '.join(COLUMNS)}")
        shape = [1 + max(key[axis] for key in entries) for axis in range(3)]
        missing = set(range(shape[0])) - {key[0] for key in entries}
        if missing:
            raise UsageError(f"bit table: nothing is given for layer {min(missing)}")
        costs = np.full(shape, np.nan)
        for key, cost in entries.items():
            costs[key] = cost
        return cls(costs, **labels)

    def predict(self, bits: Any) -> Floats:
        """(n,) costs of bit widths (n, layers, 2): weights', activations'.

        Raises:
            UsageError: another shape, or widths that the table lacks for a layer.
        """
        given = np.asarray(bits)
        if given.ndim != 3 or given.shape[1:] != (self.layers, 2) or given.dtype.kind not in "iu":
            raise UsageError(f"bit table: bits must be whole numbers of shape (n, {self.layers}, "
                             f"2), not {given.dtype} of {given.shape}")  # fmt: skip
        limits = np.array(self.costs.shape[1:]) - 1
        inside = np.clip(given, 0, limits)
        found = self.costs[np.arange(self.layers), inside[..., 0], inside[..., 1]]
        bad = np.argwhere(np.isnan(found) | (inside != given).any(axis=2))
        if len(bad):
            row, layer = bad[0]
            w, a = given[row, layer]
            raise UsageError(f"bit table: layer {layer} has no cost at {w}/{a} bits")
        total: Floats = found.sum(axis=1)
        return total
