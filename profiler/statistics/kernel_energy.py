"""Joules of single kernels from loops of equal work, and what the loops cannot tell apart.

A loop repeats one single-kernel model (or a chain of copies): its energy per run is a sum
over columns, each a kernel, the call or the gap between kernels, with known counts. One
round visits every loop once; each round is solved by least squares for itself, so that the
rounds are independent replicates and any combination of kernels, such as a whole network,
has an interval of its own that knows of every correlation.

The whole network's own window is never among the loops: it is what the sum is checked on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lwprof.errors import UsageError
from lwprof.profiler.statistics.energy import joint_half_width
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.power import Floats

RESOLVED = 0.25
"""Largest relative half-width at which a kernel stands alone; wider ones are grouped."""

_RANK = 1e-9


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop of equal work.

    Attributes:
        counts: how often each column (kernel, call, gap) happens in one run.
        energy_j: joules above idle of one run, by round; NaN where the round lacks it.
        uniform_j: half-width of the rounding error that all rounds share, J.
    """

    counts: Mapping[str, float]
    energy_j: Sequence[float]
    uniform_j: float = 0.0


@dataclass(frozen=True, slots=True)
class Solved:
    """Columns in every round.

    Attributes:
        columns: names, in the order of the arrays.
        rounds_j: joules of each column, shape (rounds, columns).
        gains: how a loop's error reaches a column, shape (columns, loops).
        uniform_j: rounding error of each loop, shape (loops,).
        free: columns that the loops do not determine, each with the others it is tied to.
    """

    columns: tuple[str, ...]
    rounds_j: Floats
    gains: Floats
    uniform_j: Floats
    free: frozenset[str]

    def combined(self, counts: Mapping[str, float], level: float = 0.95) -> Estimate:
        """Energy of ``counts`` of the columns together.

        Raises:
            UsageError: a column is unknown, or the loops do not determine the sum.
        """
        unknown = sorted(set(counts) - set(self.columns))
        if unknown:
            raise UsageError(f"no loop tells the energy of {', '.join(unknown[:3])}")
        weights = np.array([counts.get(name, 0.0) for name in self.columns])
        values = self.rounds_j @ weights
        # Rounding of different loops is independent; they add as variances.
        uniform = float(np.sqrt(np.sum((weights @ self.gains * self.uniform_j) ** 2)))
        mean = float(values.mean())
        if values.size < 2:
            return Estimate(mean, -math.inf, math.inf, level=level, blocks=values.size)
        error = float(values.std(ddof=1)) / math.sqrt(values.size)
        half = joint_half_width(error, values.size - 1, uniform, level)
        return Estimate(mean, mean - half, mean + half, level=level, blocks=values.size)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Energies of kernels: those that stand alone, and one group of those that do not.

    Attributes:
        alone: by kernel.
        group: kernels that cannot be told apart.
        group_j: the energy of all of the group together, by its counts; None without one.
    """

    alone: Mapping[str, Estimate]
    group: tuple[str, ...]
    group_j: Estimate | None


def solve(loops: Sequence[Loop]) -> Solved:
    """Energy of each column in each round, by weighted least squares over the loops.

    Rounds that lack a loop are left out: they would solve another system.

    Raises:
        UsageError: no loops, or no whole round.
    """
    if not loops:
        raise UsageError("no loops were measured: nothing tells the kernels' energy")
    columns = tuple(sorted({name for loop in loops for name in loop.counts}))
    design = np.array([[loop.counts.get(name, 0.0) for name in columns] for loop in loops])
    energies = np.array([loop.energy_j for loop in loops], dtype=np.float64)
    energies = energies[:, np.isfinite(energies).all(axis=0)]
    if energies.shape[1] < 1:
        raise UsageError("no round holds every loop: nothing tells the kernels' energy")
    scale = _scales(energies)
    gains = np.linalg.pinv(design / scale[:, None], rcond=_RANK) / scale
    # A column is determined where the loops' own pattern gives it back whole.
    back = gains @ design
    free = {name for i, name in enumerate(columns) if abs(back[i, i] - 1.0) > 1e-6}
    return Solved(
        columns,
        (gains @ energies).T,
        gains,
        np.array([loop.uniform_j for loop in loops]),
        frozenset(free),
    )


def _scales(energies: Floats) -> Floats:
    """What each loop's equation is divided by: its spread, never far below the others'."""
    if energies.shape[1] < 3:
        return np.asarray(np.maximum(np.abs(energies).mean(axis=1), 1e-12), dtype=np.float64)
    spread = energies.std(axis=1, ddof=1)
    # A spread from a few rounds is rough: half of it is shared with what is typical.
    relative = spread / np.maximum(np.abs(energies).mean(axis=1), 1e-12)
    typical = float(np.median(relative))
    pooled = np.sqrt((relative**2 + typical**2) / 2) * np.abs(energies).mean(axis=1)
    return np.asarray(np.maximum(pooled, 1e-12), dtype=np.float64)


def kernels(solved: Solved, counts: Mapping[str, float], level: float = 0.95) -> Kernels:
    """Energies of the kernels of a network, grouping what the loops cannot tell apart.

    Args:
        solved: of all loops.
        counts: how often each kernel runs in one inference.
    """
    alone: dict[str, Estimate] = {}
    group = []
    for name in counts:
        estimate = solved.combined({name: 1.0}, level)
        sure = estimate.low > 0 and estimate.relative_half_width <= RESOLVED
        if sure and name not in solved.free:
            alone[name] = estimate
        else:
            group.append(name)
    together = solved.combined({name: counts[name] for name in group}, level) if group else None
    return Kernels(alone, tuple(group), together)


@dataclass(frozen=True, slots=True)
class EnergyClosure:
    """The sum of kernels, gaps and idle against a whole-network window nothing was fitted to.

    Attributes:
        sum_j: Σ kernels + gaps + idle over the latency; ``end_to_end_j``: the window's.
        error: (sum − end to end) / end to end.
        closes: whether the difference lies within both intervals together.
    """

    sum_j: Estimate
    end_to_end_j: Estimate
    error: float
    closes: bool


def energy_closure(sum_j: Estimate, end_to_end_j: Estimate) -> EnergyClosure:
    """Compares a sum with the measured energy of the whole."""
    difference = sum_j.value - end_to_end_j.value
    allowed = math.hypot(sum_j.half_width, end_to_end_j.half_width)
    return EnergyClosure(
        sum_j, end_to_end_j, difference / end_to_end_j.value, abs(difference) <= allowed
    )
