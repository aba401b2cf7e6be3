"""Kernel times inside a network, and whether they add up to the whole.

Medians of parts do not add up to the median of the whole, so the parts are means over
the *same* whole iterations: the central ones, chosen by their total.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lwprof.errors import UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.intervals import mean_interval
from lwprof.profiler.statistics.student import Floats


def central_mean(values: npt.ArrayLike, fraction: float = 0.5) -> Floats:
    """Mean over the central whole iterations, ranked by their total.

    Args:
        values: durations, shape (runs,) or (runs, nodes).
        fraction: share of the iterations to keep; at least one is kept, and as many are
            left out at the fast end as at the slow one.

    Returns:
        Shape () or (nodes,). The nodes' means add up to the mean of the totals.

    Raises:
        UsageError: no iterations, or a duration that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[0] == 0:
        raise UsageError(f"durations must have shape (runs,) or (runs, nodes), not {array.shape}")
    if not np.all(np.isfinite(array)):
        raise UsageError("durations must be finite numbers")
    if not 0.0 < fraction <= 1.0:
        raise UsageError(f"the central fraction must lie in (0, 1], not {fraction!r}")
    runs = array.shape[0]
    total = array if array.ndim == 1 else array.sum(axis=1)
    left_out = min(math.floor(runs * (1 - fraction) / 2), (runs - 1) // 2)
    central = np.argsort(total, kind="stable")[left_out : runs - left_out]
    return np.asarray(array[central].mean(axis=0))


def kernel_estimates(
    blocks: Sequence[Floats],
    bias_s: npt.ArrayLike = 0.0,
    resolution_s: float = 0.0,
    level: float = 0.95,
) -> list[Estimate]:
    """Time of each node: central mean in each block, then a t interval over blocks.

    Args:
        blocks: profiled durations of each block (process), seconds, shape (runs, nodes);
            the runs of two blocks may differ in number, the nodes may not.
        bias_s: what the profiler itself adds to each node, scalar, (nodes,) or
            (blocks, nodes); subtracted.
        resolution_s: below this a duration cannot be told from nothing.
        level: of the intervals.

    Returns:
        One estimate per node. Where the mean lies below ``resolution_s`` or the interval
        reaches 0, "at most" the interval's upper end (never less than the resolution).

    Raises:
        UsageError: no blocks, or blocks of different nodes.
    """
    means = _block_means(blocks, bias_s)
    runs = sum(np.shape(block)[0] for block in blocks)
    return [bounded_below(column, resolution_s, level, runs) for column in means.T]


def group_estimate(
    blocks: Sequence[Floats],
    nodes: Sequence[int],
    bias_s: npt.ArrayLike = 0.0,
    resolution_s: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """Time of several nodes together, whose sum may be told where no single one can.

    Args:
        blocks, bias_s, level: as for ``kernel_estimates``.
        nodes: columns that form the group.
        resolution_s: resolution of the sum.

    Raises:
        UsageError: no nodes, no blocks, or blocks of different nodes.
    """
    if len(nodes) == 0:
        raise UsageError("a group of kernels needs at least one node")
    means = _block_means(blocks, bias_s)[:, list(nodes)].sum(axis=1)
    runs = sum(np.shape(block)[0] for block in blocks)
    return bounded_below(means, resolution_s, level, runs)


def bounded_below(
    values: Floats, resolution_s: float, level: float = 0.95, n: int | None = None
) -> Estimate:
    """Mean over blocks of a duration; "at most" where it cannot be told from nothing.

    Args:
        values: one corrected duration per block, may be negative by chance, seconds.
        resolution_s: below this a duration cannot be told from nothing.
    """
    estimate = mean_interval(values, level, n=n)
    single = not math.isfinite(estimate.high)
    if estimate.value >= resolution_s and (estimate.low > 0 or (single and estimate.value > 0)):
        low = max(0.0, estimate.low)
        return Estimate(
            estimate.value, low, estimate.high, level=level, blocks=estimate.blocks, n=n
        )
    # One block gives no upper end; the largest honest bound is then what it showed.
    high = float(np.max(values)) if single else estimate.high
    bound = max(high, resolution_s, math.ulp(0.0))
    return Estimate(bound, 0.0, bound, level=level, blocks=estimate.blocks, n=n, at_most=True)


def closure(sum_s: float, end_to_end_s: float) -> float:
    """Relative error of the parts: (Σ kernels + gap) / end to end - 1.

    Raises:
        UsageError: a time that is not finite, or an end-to-end time that is not positive.
    """
    if not (math.isfinite(sum_s) and math.isfinite(end_to_end_s) and end_to_end_s > 0):
        raise UsageError(
            f"closure needs finite times and a positive end-to-end time, not "
            f"{sum_s!r} and {end_to_end_s!r}"
        )
    return sum_s / end_to_end_s - 1.0


def _block_means(blocks: Sequence[Floats], bias_s: npt.ArrayLike) -> Floats:
    if len(blocks) == 0:
        raise UsageError("kernel times need at least one block")
    shapes = {np.shape(block)[1:] for block in blocks}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise UsageError("every block must hold durations of the same nodes, shape (runs, nodes)")
    means = np.array([central_mean(np.asarray(block)) for block in blocks])
    return means - np.asarray(bias_s, dtype=np.float64)
