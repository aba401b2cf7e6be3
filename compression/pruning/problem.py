"""The contract of selectors: which units to keep so that the price stays below a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwprof.compression.graph import Channels
from lwprof.errors import UsageError

Price = Callable[[Any], float]
"""Units kept per group, (groups,) → seconds, joules or bytes."""


class Infeasible(UsageError):
    """No selection of channels is cheap enough.

    Args:
        message: one line.
        minimum: the smallest price that can be reached, SI units.
    """

    def __init__(self, message: str, minimum: float) -> None:
        super().__init__(message)
        self.minimum = minimum


@dataclass(slots=True)
class Problem:
    """A selection to be made.

    Attributes:
        found: the channels to choose from.
        scores: (units,) saliency, larger is better kept.
        price: of a choice of widths; asked once per choice.
        limit: the price that must not be exceeded.
        error: loss of a mask (units,); None where only scores are known.
        step: widths change by this many units, where a group is large enough.
        seed: of random choices.
    """

    found: Channels
    scores: Any
    price: Price
    limit: float
    error: Callable[[Any], float] | None = None
    step: int = 1
    seed: int = 0
    _known: dict[bytes, float] = field(default_factory=dict, repr=False)

    def cost(self, widths: Any) -> float:
        """The price of widths, remembered."""
        key = np.asarray(widths, np.int64).tobytes()
        if key not in self._known:
            self._known[key] = float(self.price(np.asarray(widths, np.int64)))
        return self._known[key]

    @property
    def least(self) -> Any:
        """The smallest widths allowed, (groups,)."""
        return np.minimum(
            self.found.widths, np.maximum(1, np.minimum(self.step, self.found.widths))
        )

    def steps(self, group: int) -> list[int]:
        """Widths that a group may take, ascending; all channels are always among them."""
        size = int(self.found.widths[group])
        low = int(self.least[group])
        return sorted({*range(low, size + 1, max(1, self.step)), size})

    def best(self, widths: Any) -> Any:
        """The mask that keeps the best-scored units of every group: (groups,) → (units,)."""
        kept = np.zeros(self.found.units, dtype=bool)
        for group, width in zip(self.found.groups, widths, strict=True):
            units = np.array(group.units)
            order = np.argsort(-self.scores[units], kind="stable")
            kept[units[order[: int(width)]]] = True
        return kept

    def loss(self, kept: Any) -> float:
        """The error of a mask, or the saliency that it loses."""
        if self.error is not None:
            return self.error(kept)
        return float(self.scores[~np.asarray(kept, bool)].sum())

    def filled(self, kept: Any) -> Any:
        """Takes units back while the limit allows it, the most valuable first.

        Prices in steps leave room; afterwards no group can grow any more.
        """
        kept = np.array(kept, dtype=bool)
        open_groups = set(range(len(self.found.groups)))
        while open_groups:
            offers = {group: self._next(kept, group) for group in open_groups}
            group = max(offers, key=lambda g: float(self.scores[offers[g]].mean())
                        if len(offers[g]) else -np.inf)  # fmt: skip
            trial = kept.copy()
            trial[offers[group]] = True
            if len(offers[group]) and self.cost(self.found.counts(trial)) <= self.limit:
                kept = trial
            else:
                open_groups.discard(group)
        return kept

    def _next(self, kept: Any, group: int) -> Any:
        units = np.array(self.found.groups[group].units)
        width = int(kept[units].sum())
        larger = [w for w in self.steps(group) if w > width]
        gone = units[~kept[units]]
        order = gone[np.argsort(-self.scores[gone], kind="stable")]
        return order[: larger[0] - width] if larger else order[:0]

    def check(self) -> None:
        """Refuses a limit that cannot be met.

        Raises:
            Infeasible: with the reachable minimum.
        """
        minimum = self.cost(self.least)
        if minimum > self.limit:
            raise Infeasible(
                f"{self.found.graph.name} cannot be pruned to {self.limit:.4g}: its channels cut "
                f"to the least still cost {minimum:.4g} (SI units); raise the limit to that",
                minimum,
            )  # fmt: skip
