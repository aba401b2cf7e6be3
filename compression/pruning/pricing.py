"""What widths cost: a device's cost model, or multiply-accumulates and a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from lwprof.compression.graph.resizing import Resizable
from lwprof.errors import UsageError
from lwprof.predictors.channel_table import ChannelTable
from lwprof.profiler.graph import read


@dataclass(slots=True)
class Pricing:
    """A price in the budget's unit, corrected by what was measured.

    Attributes:
        raw: of widths (groups,), before correction.
        source: who answers, for people.
        factor: measured ÷ raw at the last network that was measured.
        offset: what no channel changes (a floor found from two measurements).
    """

    raw: Callable[[Any], float]
    source: str
    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, widths: Any) -> float:
        return self.of_raw(self.raw(widths))

    def of_raw(self, raw: float) -> float:
        """The corrected price of a raw one."""
        return self.offset + self.factor * raw

    def raw_of(self, price: float) -> float:
        """The raw price that is corrected to this one; none is below nothing."""
        return max(0.0, (price - self.offset) / self.factor)

    def calibrate(self, seen: list[tuple[float, float]]) -> None:
        """Fits offset and factor to (raw, measured) pairs: one scales, more draw a line.

        The line is a least-squares fit in which pairs count by how near they are to the last,
        which is the nearest to the limit. It may neither fall nor begin below nothing.
        """
        raw, measured = seen[-1]
        self.factor, self.offset = measured / max(raw, 1e-30), 0.0
        x, y = (np.array(column) for column in zip(*seen, strict=True))
        if np.ptp(x) <= 0.02 * x.max():
            return
        weight = 1 / (0.1 + np.abs(x / max(raw, 1e-30) - 1))
        x0, y0 = np.average(x, weights=weight), np.average(y, weights=weight)
        slope = float(np.sum(weight * (x - x0) * (y - y0)) / np.sum(weight * (x - x0) ** 2))
        if slope <= 0 or y0 - slope * x0 < 0:
            self.factor = float(y0 / x0)  # noise, or a device that is faster than its work
            return
        self.factor, self.offset = slope, float(y0 - slope * x0)


def by_cost_model(cost: Any, found: Resizable, quantity: str) -> Pricing:
    """Prices from a device's cost model.

    Raises:
        CostMiss: a kernel of a smaller network is unknown to it.
        UsageError: the quantity is none of its columns.
    """
    table = cost.channels(found)
    if quantity not in table.quantities:
        raise UsageError(f"the cost model of {cost.device!r} knows no {quantity}")
    column = table.quantities.index(quantity)

    def raw(widths: Any) -> float:
        return float(table.predict(np.asarray(widths)[None])[0, column])

    return Pricing(raw, "cost model")


def by_macs(found: Resizable) -> Pricing:
    """Multiply-accumulates, to be scaled by a measurement: for devices without a table.

    Exact in the widths (work is bilinear in them), crude as a time: corrected after each
    measurement.
    """

    class Counter:
        """Counts MACs under the name of a quantity that adds up over operators."""

        quantities = ("latency_s",)

        def predict(self, models: Any) -> Any:
            """``.mean`` (models, 1)."""
            given = models if isinstance(models, list | tuple) else [models]
            return SimpleNamespace(mean=np.array([[float(read(m).macs or 0)] for m in given]))

    table = ChannelTable.build(Counter(), found)

    def raw(widths: Any) -> float:
        return float(table.predict(np.asarray(widths)[None])[0, 0])

    return Pricing(raw, "multiply-accumulates, scaled by measurements")


def by_memory(found: Resizable) -> Pricing:
    """Peak activation memory by liveness: computed exactly for every choice of widths."""

    def raw(widths: Any) -> float:
        peak = read(found.resize(widths)).peak_memory_bytes
        if peak is None:
            raise UsageError("the peak memory of this network is unknown: give input shapes")
        return float(peak)

    return Pricing(raw, "computed")
