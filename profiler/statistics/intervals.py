"""Intervals of a latency, of a mean over processes, and of a percentile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lwprof.errors import UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.serial import mean_half_width
from lwprof.profiler.statistics.student import Floats, student_t_quantile

FULL_BLOCKS = 12
"""From this many blocks on the coverage of ``latency_interval`` has been measured."""

PERCENTILE_ITERATIONS = 1000
"""Fewer iterations say nothing useful about a 99th percentile, so none is given."""

# A share of the error probability is spent on looking at the data before stopping;
# chosen by simulation (benchmarks/coverage.py, "stop rule").
_KEPT_UNDER_STOPPING = 0.6


def sequential_level(level: float) -> float:
    """The level an interval must have at each look to hold ``level`` when stopping on its width."""
    return 1.0 - (1.0 - level) * _KEPT_UNDER_STOPPING


def latency_interval(
    block_medians_s: Sequence[float] | Floats,
    level: float = 0.95,
    *,
    n: int | None = None,
    positions: Sequence[float] | None = None,
    sequential: bool = True,
    resolution_s: float = 0.0,
) -> Estimate:
    """exp(mean of log block medians) with an interval that allows for correlated blocks.

    See ``serial`` for the method and ``simulate`` for the estimand. How many blocks
    there are decides what can be said:

    - 1: the value, bounded by nothing (0 to infinity): one block has no spread;
    - 2 to 11: a valid but wide interval (about ±12 spreads at 2 blocks, ±1.5 at 11);
    - 12 and more: coverage measured at 93 % or more for block correlations up to 0.6;
      about 30 are needed before it is less than 1.4 × as wide as that of an oracle
      who knows the correlation.

    Args:
        block_medians_s: median of each unflagged block, in time order, > 0, seconds.
        level: probability with which the interval covers.
        n: iterations behind the medians, for the record.
        positions: where in the session each block stood (a running number or a time);
            matters when flagged blocks in between were left out.
        sequential: whether measuring went on until this interval was narrow enough. It
            is what lwprof does, so it is the default; False for a number of blocks that
            was fixed beforehand gives an interval about a tenth narrower.
        resolution_s: step of the clock; the interval is never narrower than that.

    Raises:
        UsageError: no blocks, or a median that is not a positive finite number.
    """
    medians = _checked(block_medians_s, "block medians")
    if np.any(medians <= 0):
        raise UsageError("block medians must be positive: a latency of 0 s cannot be")
    logs = np.log(medians)
    value = math.exp(float(logs.mean()))
    if medians.size == 1:
        return Estimate(value, 0.0, math.inf, level=level, blocks=1, n=n)
    used = sequential_level(level) if sequential else level
    half = float(mean_half_width(logs, used, _checked_positions(positions, medians.size)))
    low, high = value * math.exp(-half), value * exp_or_inf(half)
    step = resolution_s / 2
    return Estimate(
        value,
        max(0.0, min(low, value - step)),
        max(high, value + step),
        level=level,
        blocks=medians.size,
        n=n,
    )


def mean_interval(
    values: Sequence[float] | Floats,
    level: float = 0.95,
    *,
    n: int | None = None,
    serial: bool = False,
) -> Estimate:
    """Mean over processes with a Student t interval; the process is the cluster.

    Args:
        values: one number per process, in time order.
        level: probability with which the interval covers.
        n: iterations behind the values.
        serial: allow for correlation between neighbours, as ``latency_interval`` does.
            Not needed where each value is a difference or a ratio taken inside one
            process, in which the state of the machine cancels.

    Raises:
        UsageError: no values, or one that is not finite.
    """
    numbers = _checked(values, "values")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return Estimate(mean, -math.inf, math.inf, level=level, blocks=1, n=n)
    if serial:
        half = float(mean_half_width(numbers, level))
    else:
        error = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
        half = error * student_t_quantile((1 + level) / 2, numbers.size - 1)
    return Estimate(mean, mean - half, mean + half, level=level, blocks=numbers.size, n=n)


def percentile_interval(
    blocks: Sequence[Sequence[float] | Floats], q: float, level: float = 0.95
) -> Estimate | None:
    """A percentile over all iterations, with an interval that knows of the blocks.

    Woodruff's interval: the share of iterations at or below the point estimate is a mean over
    blocks, whose cluster variance (never less than the binomial one) gives a range of
    shares; the interval's ends are the order statistics at the ends of that range.

    Args:
        blocks: the iterations of each block.
        q: the percentile as a fraction, 0.95 or 0.99.
        level: probability with which the interval covers.

    Returns:
        None below ``PERCENTILE_ITERATIONS`` iterations in all. An end that no order
        statistic bounds is 0 or infinite.

    Raises:
        UsageError: ``q`` outside (0, 1), or an iteration that is not finite.
    """
    if not 0.0 < q < 1.0:
        raise UsageError(f"a percentile must lie between 0 and 1, not {q!r}")
    filled = [np.asarray(block, dtype=np.float64) for block in blocks if len(block)]
    counts = np.array([block.size for block in filled])
    if counts.sum() < PERCENTILE_ITERATIONS:
        return None
    pooled = np.sort(_checked(np.concatenate(filled), "iterations"))
    total = pooled.size
    value = float(pooled[math.ceil(q * total) - 1])
    if len(filled) == 1:
        return Estimate(value, 0.0, math.inf, level=level, blocks=1, n=total)
    below = np.array([np.count_nonzero(block <= value) for block in filled])
    excess = below - counts * below.sum() / total
    k = len(filled)
    cluster = math.sqrt(float(np.sum(excess**2)) * k / (k - 1)) / total
    error = max(cluster, math.sqrt(q * (1 - q) / total))
    half = error * student_t_quantile((1 + level) / 2, k - 1)
    first, last = math.floor((q - half) * total) - 1, math.ceil((q + half) * total)
    low = float(pooled[first]) if first >= 0 else 0.0
    high = float(pooled[last]) if last < total else math.inf
    return Estimate(value, min(low, value), max(high, value), level=level, blocks=k, n=total)


def exp_or_inf(x: float) -> float:
    """exp(x), infinite where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _checked(values: npt.ArrayLike, what: str) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise UsageError(f"an interval needs a list of {what}, got shape {numbers.shape}")
    if not np.all(np.isfinite(numbers)):
        raise UsageError(f"{what} must be finite numbers, got {numbers[~np.isfinite(numbers)][0]}")
    return numbers


def _checked_positions(positions: Sequence[float] | None, size: int) -> Floats | None:
    if positions is None:
        return None
    places = _checked(positions, "positions")
    if places.size != size or np.any(np.diff(places) <= 0):
        raise UsageError("positions must increase, one for each block")
    return places
