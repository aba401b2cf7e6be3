"""Energy of repeated inferences from windows between idle stretches; see ``power``.

Where readings miss next to nothing between them (counters, sensors that average over their
whole period) the energy above idle of a block is the integral of (power − idle) over the
window *and* the sensor's settling after it. Averaging and lag move energy along the time axis
but do not change that integral, so neither has to be known exactly and the window's edges cost
nothing; the total is that plus the idle power over the window's own length. Where readings
are points, the integral would gain or lose a reading at each edge: the mean of the readings
that hold nothing but the window is taken for its length instead.

Over blocks the interval is Student's t on one value per block: each block starts at a random
phase of the sensor's own clock, so aliasing, drop-outs, noise and the process's own spread all
show as differences between blocks. What is the same in every block does not: the rounding of
a level that hardly moves. It is added as a uniform error, as wide as the spread of the
readings leaves it. The sensor's gain error is stated apart, never inside the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwprof.errors import UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.statistics.power import Floats, SensorRefused, Trace, Window
from lwprof.profiler.statistics.student import student_t_quantile, student_t_two_sided

LEAST_RUN_S = 0.2
LEAST_PERIODS = 20
MOST_IDLE_RATIO = 10.0
"""Idle power of one block against that of the others; more is another unit, not drift."""

_MOST_GAP = 0.2
_LEAST_READ = 0.3
_UNIFORM_NODES = 33


@dataclass(frozen=True, slots=True)
class Visit:
    """One window of equal work, with the idle stretches around it.

    Attributes:
        energy_j: whole energy of one inference; ``above_idle_j``: less what idling costs.
        power_w: mean power of the window; ``idle_w``: of the idle stretches.
        seconds: the window's length; ``n``: inferences in it.
        spread_w: spread of the readings inside the window; ``idle_spread_w``: outside.
        step_w: one step of the readings.
    """

    session: str
    energy_j: float
    above_idle_j: float
    power_w: float
    idle_w: float
    seconds: float
    n: int
    spread_w: float = 0.0
    idle_spread_w: float = 0.0
    step_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one inference (or of one kernel), with intervals.

    Attributes:
        energy_j: whole energy; ``above_idle_j``: less what idling costs meanwhile.
        power_w: mean power at work; ``idle_w``: idle power.
    """

    energy_j: Estimate
    above_idle_j: Estimate
    power_w: Estimate
    idle_w: Estimate


def windows_for(period_s: float, settle_s: float) -> tuple[float, float]:
    """Seconds of a run window and of an idle stretch that a sensor can resolve.

    At least 200 ms and 20 periods of work; idle stretches hold the settling after the work
    and at least ten periods beyond it.
    """
    run = max(LEAST_RUN_S, LEAST_PERIODS * period_s)
    return run, settle_s + max(0.15, 10 * period_s)


def visits(trace: Trace, windows: Sequence[Window]) -> list[Visit]:
    """The work windows of one block that lie between two idle ones.

    Args:
        trace: energy over time.
        windows: idle and work in turn, beginning and ending idle.

    Raises:
        SensorRefused: readings are missing where they count, or an idle stretch tells no
            level.
    """
    out = []
    for before, run, after in zip(windows, windows[1:], windows[2:], strict=False):
        if run.n and not before.n and not after.n:
            out.append(_visit(trace, before, run, after))
    if not out:
        raise UsageError("an energy block needs idle windows on both sides of its work")
    return out


def _visit(trace: Trace, before: Window, run: Window, after: Window) -> Visit:
    rail = trace.rail
    idle = [_idle(trace, window, rail.settle_s) for window in (before, after)]
    if max(idle) > MOST_IDLE_RATIO * max(min(idle), 4 * rail.step_w, 1e-3):
        raise SensorRefused(
            f"{rail.label} idled at {idle[0]:.3g} W before and {idle[1]:.3g} W after the work: "
            "its unit changed, or something else ran"
        )
    level = (idle[0] + idle[1]) / 2
    above = _integral(trace, before, run, after, idle) if rail.gapless else (
        (_mean_inside(trace, run) - level) * run.seconds
    )  # fmt: skip
    if above < -max(0.5 * level, 4 * rail.step_w, 0.01) * run.seconds:
        raise SensorRefused(f"{rail.label} reads less power at work than idle")
    whole = above + level * run.seconds
    return Visit(
        session=run.session,
        energy_j=whole / run.n,
        above_idle_j=above / run.n,
        power_w=whole / run.seconds,
        idle_w=level,
        seconds=run.seconds,
        n=run.n,
        spread_w=_spread(trace.inside(run)),
        idle_spread_w=_spread(np.concatenate([trace.inside(before), trace.inside(after)])),
        step_w=rail.step_w,
    )


def _integral(
    trace: Trace, before: Window, run: Window, after: Window, idle: Sequence[float]
) -> float:
    """Joules above idle, the sensor's settling after the work included."""
    rail = trace.rail
    settle, level = rail.settle_s, (idle[0] + idle[1]) / 2
    lead = min(rail.period_s, before.seconds / 4)
    tail = min(settle, after.seconds / 2)
    start, end = run.start_s - lead, run.end_s + tail
    if trace.t_s[0] > start or trace.t_s[-1] < end:
        raise SensorRefused(f"{rail.label} was not read over the whole window")
    allowed = max(5 * rail.period_s, _MOST_GAP * run.seconds)
    if trace.largest_gap_s(start, end) > allowed:
        raise SensorRefused(
            f"{rail.label} gave no reading for {trace.largest_gap_s(start, end):.3g} s of a "
            f"{run.seconds:.3g} s window"
        )
    spent = trace.between(start, end)
    return spent - lead * idle[0] - tail * idle[1] - level * run.seconds


def _mean_inside(trace: Trace, window: Window) -> float:
    """Mean of the powers that hold nothing but the window."""
    powers = trace.inside(window)
    latency = window.seconds / window.n if window.n else 0.0
    expected = (window.seconds - trace.rail.delay_s - latency) / trace.rail.period_s
    # Deadlines that a busy board missed are no fault of the sensor, and hide no power.
    if powers.size < max(2.0, _LEAST_READ * expected):
        raise SensorRefused(
            f"a window of {window.seconds:.3g} s holds {powers.size} readings of "
            f"{trace.rail.label} that are wholly its own: too few"
        )
    return float(powers.mean())


def _idle(trace: Trace, window: Window, settle_s: float) -> float:
    """Mean power of the settled part of an idle window, W."""
    if not trace.rail.gapless:
        return _mean_inside(trace, window)
    start = window.start_s + min(settle_s, window.seconds / 2)
    end = window.end_s - min(trace.rail.period_s, window.seconds / 10)
    readings = int(np.count_nonzero((trace.t_s >= start) & (trace.t_s <= end)))
    if readings < 2:
        raise SensorRefused(
            f"an idle window of {window.seconds:.3g} s holds {readings} settled readings of "
            f"{trace.rail.label}: it must be longer"
        )
    return trace.between(start, end) / (end - start)


def _spread(powers: Floats) -> float:
    return float(powers.std(ddof=1)) if powers.size > 1 else 0.0


def energy_interval(found: Sequence[Visit], level: float = 0.95) -> Energy:
    """Energy of one inference from visits of it, one per process.

    Raises:
        UsageError: no visits.
        SensorRefused: some visits have another unit than the rest.
    """
    if not found:
        raise UsageError("no energy was measured: nothing to estimate")
    check_alike(found)
    n = sum(visit.n for visit in found)
    seconds = np.array([visit.seconds / visit.n for visit in found])
    length = float(seconds.mean())
    run = rounding_w(found, idle=False)
    idle = rounding_w(found, idle=True)
    both = math.hypot(run, idle)

    def interval(values: Sequence[float], uniform: float) -> Estimate:
        return mean_with_rounding(np.array(values), uniform, level, n)

    return Energy(
        energy_j=interval([visit.energy_j for visit in found], run * length),
        above_idle_j=interval([visit.above_idle_j for visit in found], both * length),
        power_w=interval([visit.power_w for visit in found], run),
        idle_w=interval([visit.idle_w for visit in found], idle),
    )


def check_alike(found: Sequence[Visit]) -> None:
    """Refuses blocks whose idle power says that their unit differs from the others'.

    Raises:
        SensorRefused: with the two levels.
    """
    levels = np.array([visit.idle_w for visit in found])
    middle = max(float(np.median(levels)), 4 * found[0].step_w, 1e-3)
    far = np.maximum(levels, 1e-3) / middle
    if np.any(far > MOST_IDLE_RATIO) or (
        middle > 0.05 and np.any(far < 1 / MOST_IDLE_RATIO)
    ):  # fmt: skip
        raise SensorRefused(
            f"idle power was {levels.min():.3g} W in one block and {levels.max():.3g} W in "
            "another: the sensor's unit changed, or something else ran"
        )


def rounding_w(found: Sequence[Visit], *, idle: bool) -> float:
    """Half-width of the uniform error that rounding leaves in the mean level, W.

    A level that does not move is rounded the same way in every reading: up to half a step
    off. One that moves by a step or more averages its rounding out: for Gaussian spread σ and
    step q the error's variance is q²/(2π²) Σ exp(−4π²k²σ²/q²)/k² (the Fourier series of the
    rounding error), which is q²/12 at σ = 0.
    """
    step = found[0].step_w
    if step <= 0:
        return 0.0
    inner = np.array([visit.idle_spread_w if idle else visit.spread_w for visit in found])
    levels = np.array([visit.idle_w if idle else visit.power_w for visit in found])
    outer = float(levels.var(ddof=1)) if levels.size > 1 else 0.0
    # Rounding itself adds about a twelfth of a step squared to what is seen.
    variance = max(0.0, float(np.mean(inner**2)) + outer - step**2 / 12)
    orders = np.arange(1, 40)
    terms = np.exp(-4 * math.pi**2 * orders**2 * variance / step**2) / orders**2
    return math.sqrt(3 * step**2 / (2 * math.pi**2) * float(terms.sum()))


def mean_with_rounding(
    values: Floats, uniform: float, level: float = 0.95, n: int | None = None
) -> Estimate:
    """Mean over blocks; its interval holds Student's t and a uniform error of ±``uniform``.

    One block has no spread: its interval is open.
    """
    mean = float(values.mean())
    if values.size == 1:
        return Estimate(mean, -math.inf, math.inf, level=level, blocks=1, n=n)
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    half = joint_half_width(error, values.size - 1, uniform, level)
    return Estimate(mean, mean - half, mean + half, level=level, blocks=values.size, n=n)


def joint_half_width(error: float, df: int, uniform: float, level: float) -> float:
    """The h with P(|error·T + U| ≤ h) = level, T Student's t, U uniform on ±``uniform``."""
    narrow = student_t_quantile((1 + level) / 2, df) * error
    if uniform <= 1e-9 * max(narrow, 1e-300):
        return narrow
    shifts = (np.arange(_UNIFORM_NODES) + 0.5) / _UNIFORM_NODES * uniform
    low, high = 0.0, narrow + uniform
    for _ in range(50):
        middle = (low + high) / 2
        inside = _inside(middle, shifts, error, df)
        low, high = (middle, high) if inside < level else (low, middle)
    return high


def _inside(half: float, shifts: Floats, error: float, df: int) -> float:
    """P(|error·T + u| ≤ half), averaged over the shifts u ≥ 0 (the other side is alike)."""
    scale = max(error, 1e-300)

    def below(x: Floats) -> Floats:
        scaled = np.clip(x / scale, -1e8, 1e8)
        return 0.5 * (1.0 + np.sign(scaled) * student_t_two_sided(np.abs(scaled), df))

    return float(np.mean(below(half - shifts) - below(-half - shifts)))
