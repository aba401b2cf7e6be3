"""When to stop measuring: looks at the data that leave the interval valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lwprof.errors import UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.intervals import latency_interval
from lwprof.profiler.statistics.student import Floats


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop as soon as the latency's interval is narrow enough, looking only now and then.

    Every look is a chance to stop on blocks that happen to agree, so the interval
    after stopping covers less than one of a fixed size. Two things hold it up: looks
    are spaced by ``factor``, so that there are few, and each look decides on (and
    ``latency_interval(sequential=True)`` reports) an interval of a higher level.

    Attributes:
        rel_ci: wanted half-width of the interval over its value; 0.02 is ±2 %.
        min_blocks: first look.
        factor: ratio of one look to the one before: 12, 17, 23, 32 …
        max_blocks: stop here whatever the width; None leaves it to the budget.
        level: level of the interval.
    """

    rel_ci: float = 0.02
    min_blocks: int = 12
    factor: float = 1.35
    max_blocks: int | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.rel_ci > 0:
            raise UsageError(f"the wanted relative interval must be positive, not {self.rel_ci!r}")
        if self.min_blocks < 2 or not self.factor > 1:
            raise UsageError("a stop rule needs min_blocks >= 2 and factor > 1")

    def next_look(self, n: int) -> int:
        """The number of blocks at the first look after n blocks."""
        look = self.min_blocks
        while look <= n:
            look = math.ceil(look * self.factor)
        return look

    def is_look(self, n: int) -> bool:
        """Whether the data may be looked at with n blocks."""
        return n >= self.min_blocks and self.next_look(n - 1) == n

    def decide(self, log_medians: Sequence[float] | Floats) -> Literal["continue", "stop"]:
        """Whether to go on, from the unflagged blocks' log medians in time order.

        Between looks the answer is that of the last look, so it may be asked after
        every block.
        """
        blocks = len(log_medians)
        if self.max_blocks is not None and blocks >= self.max_blocks:
            return "stop"
        look = self._last_look(blocks)
        if look is None:
            return "continue"
        width = self.interval(log_medians[:look]).relative_half_width
        return "stop" if width <= self.rel_ci else "continue"

    def interval(self, log_medians: Sequence[float] | Floats) -> Estimate:
        """The interval that decides and that may be reported after stopping, in seconds."""
        return latency_interval(np.exp(log_medians), self.level, sequential=True)

    def blocks_needed(self, log_medians: Sequence[float] | Floats) -> int:
        """How many blocks it will take in all, as far as these can tell; for showing time left.

        The width falls with the square root of the blocks; below 4 blocks, and before
        the first look, ``min_blocks``.
        """
        blocks = len(log_medians)
        if blocks < 4:
            return self.min_blocks
        width = self.interval(log_medians).relative_half_width
        wanted = blocks * (width / self.rel_ci) ** 2 if math.isfinite(width) else math.inf
        limit = self.max_blocks if self.max_blocks is not None else 100_000
        if wanted >= limit:
            return limit
        return min(limit, self.next_look(max(math.ceil(wanted), blocks) - 1))

    def _last_look(self, blocks: int) -> int | None:
        last = None
        look = self.min_blocks
        while look <= blocks:
            last, look = look, math.ceil(look * self.factor)
        return last
