"""Is B slower than A? Same, different, or: this cannot be told.

The unit is a pair: two fresh processes alive at once, measured in ABBA slices, which
gives one log ratio log(B/A). What slows the machine slows both, so pairs spread
by 4–7 % where single blocks spread by 7–17 %. What is left may still hang together
from pair to pair, so p-values and intervals come from ``serial``, not from a plain t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lwprof.errors import UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.intervals import exp_or_inf, sequential_level
from lwprof.profiler.statistics.serial import MeanError, mean_error
from lwprof.profiler.statistics.student import Floats

DIFFERENT_BELOW = 0.008
"""p-value below which a look says "different"; four looks together stay under 5 %."""

SAME_LEVEL = 0.90
"""Level of the interval that must lie inside the margin: two one-sided tests at 5 %."""

FEWEST_PAIRS = 5
"""Fewer pairs never decide; a budget that ends before that leaves "undecided"."""

_POWER = 0.90


@dataclass(frozen=True, slots=True)
class PairedDesign:
    """At how many pairs the data are looked at; the last look ends the comparison."""

    looks: tuple[int, ...] = (10, 20, 40, 60)

    def is_look(self, pairs: int) -> bool:
        """Whether ``pairs`` pairs are a look; past the last, every further pair is one."""
        return pairs in self.looks or pairs > self.looks[-1]

    def next_look(self, pairs: int) -> int | None:
        """The first look with more than ``pairs`` pairs, or None after the last."""
        return next((look for look in self.looks if look > pairs), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the pairs so far say.

    Attributes:
        verdict: "same", "different", "unfit", or None: go on measuring.
        ratio: B over A, with an interval that holds under the looks.
        p_value: two-sided, of equal latency.
        minimum_detectable_effect: smallest relative change that as many pairs with this
            spread would find about 9 times in 10; infinite when there is no telling.
        reason: "undecided" or "environment" where unfit.
    """

    verdict: Literal["same", "different", "unfit"] | None
    ratio: Estimate
    p_value: float
    minimum_detectable_effect: float
    reason: str | None = None

    def with_reason(self, reason: str) -> Comparison:
        """The same comparison, unfit for this reason."""
        return replace(self, verdict="unfit", reason=reason)


def compare_log_ratios(
    log_ratios: Sequence[float] | Floats,
    margin: float = 0.03,
    final: bool = False,
    level: float = 0.95,
) -> Comparison:
    """The verdict from the log ratios of the pairs so far, taken at a look.

    - the 90 % interval lies within ±margin: same. This goes first, so a ratio that
      differs from 1 by a proven 0.3 % is the same in the sense the margin asks for;
    - else p < ``DIFFERENT_BELOW``: different;
    - else go on, or at the ``final`` look: unfit, "undecided".

    Args:
        log_ratios: log(B/A) of each pair, in time order.
        margin: ratios from 1/(1 + margin) to 1 + margin count as the same.
        final: no more pairs will come.
        level: of the reported interval of the ratio.

    Raises:
        UsageError: no pairs, a log ratio that is not finite, or a margin <= 0.
    """
    logs = _checked(log_ratios, margin)
    count = logs.size
    mean = float(logs.mean())
    if count == 1:
        ratio = Estimate(math.exp(mean), 0.0, math.inf, level=level, blocks=1)
        return _undecided(ratio, 1.0, math.inf, final)
    error = mean_error(logs[None, :])
    ratio = _ratio(mean, float(error.half_width(sequential_level(level))[0]), level, count)
    p = float(error.p_value(logs.mean(keepdims=True))[0])
    smallest = _detectable(lambda wanted: float(error.half_width(wanted)[0]))
    verdict = VERDICTS[int(judge(logs[None, :], error, margin)[0])]
    if verdict is None:
        return _undecided(ratio, p, smallest, final)
    return Comparison(verdict, ratio, p, smallest)


VERDICTS: tuple[Literal["same", "different"] | None, ...] = (None, "same", "different")


def judge(log_ratios: Floats, error: MeanError, margin: float = 0.03) -> npt.NDArray[np.int_]:
    """Index into ``VERDICTS`` of each row of log ratios, shape (m, pairs) → (m,)."""
    mean = log_ratios.mean(axis=1)
    if log_ratios.shape[1] < FEWEST_PAIRS:
        return np.zeros(mean.shape, dtype=np.int_)
    same = np.abs(mean) + error.half_width(SAME_LEVEL) <= math.log1p(margin)
    different = error.p_value(mean) < DIFFERENT_BELOW
    return np.where(same, 1, np.where(different, 2, 0))


def compare_independent(
    logs_a: Sequence[float] | Floats,
    logs_b: Sequence[float] | Floats,
    margin: float = 0.03,
    level: float = 0.95,
) -> Comparison:
    """The verdict from two runs that were not interleaved: log block medians of each.

    What changed on the device between the runs is part of the difference and no
    interval can tell; the caller says so. Each run's interval widens for correlated
    blocks, and the two add in squares.

    Raises:
        UsageError: a run without blocks, or a value that is not finite.
    """
    a, b = _checked(logs_a, margin), _checked(logs_b, margin)
    difference = float(b.mean() - a.mean())
    blocks = min(a.size, b.size)
    if blocks < 2:
        ratio = Estimate(math.exp(difference), 0.0, math.inf, level=level, blocks=blocks)
        return _undecided(ratio, 1.0, math.inf, final=True)

    errors = [mean_error(side[None, :]) for side in (a, b)]

    def half_at(wanted: float) -> float:
        return math.hypot(*(float(error.half_width(wanted)[0]) for error in errors))

    ratio = _ratio(difference, half_at(sequential_level(level)), level, blocks)
    p = _p_value(abs(difference), half_at)
    smallest = _detectable(half_at)
    if blocks >= FEWEST_PAIRS:
        if abs(difference) + half_at(SAME_LEVEL) <= math.log1p(margin):
            return Comparison("same", ratio, p, smallest)
        if p < DIFFERENT_BELOW:
            return Comparison("different", ratio, p, smallest)
    return _undecided(ratio, p, smallest, final=True)


def gate(ratio: Estimate, limit: float) -> Literal["pass", "fail", "undecided"]:
    """Whether B is allowed: fails when the ratio certainly exceeds 1 + limit.

    Args:
        ratio: B over A.
        limit: allowed relative increase; 0.05 for ``--gate latency=5%``.

    Returns:
        "fail" (exit 3) when the lower bound exceeds 1 + limit, "pass" (exit 0) when the
        upper bound does not, else "undecided" (exit 4).
    """
    if ratio.low > 1 + limit:
        return "fail"
    return "pass" if ratio.high <= 1 + limit else "undecided"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given, for many variants against one original.

    Comparing each with a threshold keeps the chance of any false finding at that threshold.

    Raises:
        UsageError: a p-value outside [0, 1].
    """
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise UsageError("p-values must lie between 0 and 1")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _checked(values: Sequence[float] | Floats, margin: float) -> Floats:
    logs = np.asarray(values, dtype=np.float64)
    if logs.ndim != 1 or logs.size == 0:
        raise UsageError("a comparison needs at least one pair of blocks")
    if not np.all(np.isfinite(logs)):
        raise UsageError("log ratios must be finite numbers")
    if not margin > 0:
        raise UsageError(f"the margin must be positive, not {margin!r}")
    return logs


def _ratio(mean: float, half: float, level: float, blocks: int) -> Estimate:
    value = math.exp(mean)
    return Estimate(
        value, value * math.exp(-half), value * exp_or_inf(half), level=level, blocks=blocks
    )


def _undecided(ratio: Estimate, p: float, smallest: float, final: bool) -> Comparison:
    if final:
        return Comparison("unfit", ratio, p, smallest, "undecided")
    return Comparison(None, ratio, p, smallest)


def _detectable(half_at: Callable[[float], float]) -> float:
    """Relative change found about nine times in ten: the threshold of "different" and a reserve.

    The reserve allows for the scatter of the mean and of the threshold itself, which is
    estimated from the same pairs. By simulation 78–94 % of such changes are found.
    """
    return exp_or_inf(half_at(1 - DIFFERENT_BELOW) + half_at(_POWER)) - 1


def _p_value(distance: float, half_at: Callable[[float], float]) -> float:
    """1 - the largest level whose half-width stays within ``distance``, by bisection."""
    inside, outside = 1.0, 1e-9
    if distance >= half_at(1 - outside):
        return outside
    for _ in range(50):
        p = math.sqrt(inside * outside)
        if p < 1.0 - 1e-12 and half_at(1 - p) <= distance:
            inside = p
        else:
            outside = p
        if inside / outside < 1.001:
            break
    return inside
