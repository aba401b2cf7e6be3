"""Limits on costs: several quantities, several devices, and with a probability.

    limits = Constraints([Limit("latency_s", 0.030, probability=0.95)], [Priced(table)])
    limits.violation(codes)    # (n,) 0 where every limit holds, else by how much in all

With a probability p, what is held against the limit is the p-quantile of the cost that the cost
model's intervals tell, so that P(cost ≤ limit) ≥ p; without one it is the prediction itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.predictors.space import Codes, Floats, Space

ENVIRONMENTS = ("hardware", "virtual", "emulated", "synthetic")
"""From a device itself to numbers that no device gave."""


class Costs(Protocol):
    """Costs of many codes in one context."""

    @property
    def device(self) -> str:
        """Whose costs they are."""
        ...

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the columns, SI units in them."""
        ...

    def predict(self, codes: Codes) -> Floats:
        """(n, quantities)."""
        ...

    def quantile(self, codes: Codes, probability: float) -> Floats:
        """(n, quantities): the cost stays below it with that probability."""
        ...


@dataclass(frozen=True, slots=True)
class Priced:
    """Costs from a block table, whose relative error is the same for every network.

    Attributes:
        table: additive costs.
        device: whose they are.
        spread: standard deviation of the log of true over predicted cost, by quantity or one for
            all; from networks that were predicted and measured (``log_spread``). 0: certain.
        environment: of the context in which the numbers were measured.
    """

    table: BlockTable
    device: str = "host"
    spread: float | tuple[float, ...] = 0.0
    environment: str = "hardware"

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of the table."""
        return self.table.quantities

    def predict(self, codes: Codes) -> Floats:
        """(n, quantities)."""
        return self.table.predict(codes)

    def quantile(self, codes: Codes, probability: float) -> Floats:
        """The log-normal quantile."""
        z = NormalDist().inv_cdf(probability)
        upper: Floats = self.table.predict(codes) * np.exp(z * np.asarray(self.spread))
        return upper


@dataclass(frozen=True, slots=True)
class Regressed:
    """Costs of one quantity from a fitted regressor with intervals (``TableRegressor`` …)."""

    regressor: Any
    device: str = "host"
    quantity: str = "latency_s"
    environment: str = "hardware"

    @property
    def quantities(self) -> tuple[str, ...]:
        """The one that was fitted."""
        return (self.quantity,)

    def predict(self, codes: Codes) -> Floats:
        """(n, 1)."""
        return np.asarray(self.regressor.predict(codes), dtype=np.float64)[:, None]

    def quantile(self, codes: Codes, probability: float) -> Floats:
        """The end of the two-sided interval that leaves 1 − probability beyond it."""
        if probability == 0.5:
            return self.predict(codes)
        low, high = self.regressor.predict_interval(codes, abs(2 * probability - 1))
        return np.asarray(high if probability > 0.5 else low, dtype=np.float64)[:, None]


def environment_of(costs: Sequence[Costs], measured: str | None = None) -> str:
    """The least real environment of all numbers: a stand-in among them marks the whole result.

    Args:
        measured: of verifications, if any were made.
    """
    known = [e for e in (measured, *(getattr(c, "environment", None) for c in costs)) if e]
    return max(known, key=ENVIRONMENTS.index, default="hardware")


def log_spread(predicted: Any, measured: Any) -> float:
    """The ``spread`` of a table from networks predicted and measured, root mean square.

    Raises:
        UsageError: fewer than two pairs, or costs that are not positive.
    """
    said, found = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    if said.shape != found.shape or said.size < 2 or min(said.min(), found.min()) <= 0:
        raise UsageError("log_spread needs two or more pairs of positive costs")
    return float(np.sqrt(np.mean(np.log(found / said) ** 2)))


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper limit.

    Attributes:
        quantity: such as ``latency_s``, ``energy_j``, ``peak_memory_bytes``.
        value: in the quantity's unit, positive.
        probability: with which it must hold; None compares the prediction itself.
        device: whose cost; None means every device that has the quantity (the worst case).
    """

    quantity: str
    value: float
    probability: float | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.value > 0):
            raise UsageError(f"a limit must be a positive number in SI units, not {self.value}")
        if self.probability is not None and not 0 < self.probability < 1:
            raise UsageError(f"a limit holds with a probability in (0, 1), not {self.probability}")


@dataclass(frozen=True, slots=True)
class Reach:
    """The least that a space can cost, for limits that cannot be met.

    Attributes:
        limit: which one.
        value: the least cost found on its device, in the limit's unit.
        code: the architecture that costs it.
        exact: whether nothing in the space costs less; else the least that a search found.
    """

    limit: Limit
    value: float
    code: tuple[int, ...]
    exact: bool


class Constraints:
    """Limits and the costs they are held against.

    Raises:
        UsageError: no costs, or a limit on a quantity or device that has none.
    """

    def __init__(self, limits: Sequence[Limit], costs: Sequence[Costs]) -> None:
        self.limits, self.costs = tuple(limits), tuple(costs)
        if not self.costs:
            raise UsageError("constraints need the costs of at least one device")
        self.terms: list[tuple[Limit, Costs, int]] = []
        for limit in self.limits:
            holders = [c for c in self.costs if limit.device in (None, c.device)
                       and limit.quantity in c.quantities]  # fmt: skip
            if not holders:
                known = ", ".join(f"{q} on {c.device}" for c in self.costs for q in c.quantities)
                where = f" on {limit.device}" if limit.device else ""
                raise UsageError(f"nothing prices {limit.quantity}{where}; there is {known}")
            self.terms += [(limit, c, c.quantities.index(limit.quantity)) for c in holders]

    def excess(self, codes: Codes) -> Floats:
        """(n, terms): cost ÷ limit − 1 of each limit on each of its devices; ≤ 0 is feasible."""
        out = np.empty((len(codes), len(self.terms)))
        known: dict[tuple[int, float | None], Floats] = {}
        for column, (limit, costs, quantity) in enumerate(self.terms):
            key = (id(costs), limit.probability)
            if key not in known:
                known[key] = _held(costs, codes, limit.probability)
            out[:, column] = known[key][:, quantity] / limit.value - 1
        return out

    def violation(self, codes: Codes) -> Floats:
        """(n,): the sum of what exceeds its limit; 0 where all hold."""
        total: Floats = np.maximum(self.excess(codes), 0.0).sum(axis=1)
        return total

    def cost(self, codes: Codes) -> Floats:
        """(n, devices × quantities): predicted, in the order of ``costs``."""
        return np.concatenate([c.predict(codes) for c in self.costs], axis=1)

    def relative(self, codes: Codes) -> Floats:
        """(n,): the largest cost ÷ limit: what a reward weighs against the merit."""
        found: Floats = 1 + self.excess(codes).max(axis=1, initial=-1.0)
        return found

    @property
    def names(self) -> list[str]:
        """Of the columns of ``cost``: the quantity, and the device where there are several."""
        several = len(self.costs) > 1
        return [f"{q}@{c.device}" if several else q for c in self.costs for q in c.quantities]

    def reach(
        self, space: Space, rng: np.random.Generator, evaluations: int = 20_000
    ) -> list[Reach]:
        """The least cost of each limit and device: exact for tables and small spaces."""
        return [_least(space, limit, costs, q, rng, evaluations) for limit, costs, q in self.terms]


def _held(costs: Costs, codes: Codes, probability: float | None) -> Floats:
    return costs.predict(codes) if probability is None else costs.quantile(codes, probability)


def _least(space: Space, limit: Limit, costs: Costs, quantity: int, rng: np.random.Generator,
           evaluations: int) -> Reach:  # fmt: skip
    def price(codes: Codes) -> Floats:
        found: Floats = _held(costs, codes, limit.probability)[:, quantity]
        return found

    if isinstance(costs, Priced):
        codes = np.array([[int(np.nanargmin(block[:options, quantity])) for block, options in
                           zip(costs.table.costs, space.choices, strict=True)]])  # fmt: skip
        return Reach(limit, float(price(codes)[0]), tuple(codes[0].tolist()), True)
    exact = space.count() <= evaluations
    codes = _everything(space) if exact else space.sample(evaluations // 4, rng)
    best = codes[np.argmin(price(codes))]
    for _ in range(0 if exact else 100):  # downhill, one block at a time
        near = space.neighbours(best)
        values = price(near)
        if values.min() >= price(best[None])[0]:
            break
        best = near[np.argmin(values)]
    return Reach(limit, float(price(best[None])[0]), tuple(best.tolist()), exact)


def _everything(space: Space) -> Codes:
    return np.indices(space.choices).reshape(len(space.choices), -1).T.astype(np.int64)
