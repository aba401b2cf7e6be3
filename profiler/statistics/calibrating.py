"""How late a sensor is, and over how long it averages, from steps of the load at known times.

A step test switches the load on and off at times that are known on the readings' own clock. A
sensor that averages over w and is late by l answers a step at time s with a ramp from s + l to
s + l + w; l and w are those for which the ramps of all steps together fit the readings best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lwprof.errors import UsageError
from lwprof.profiler.statistics.power import Floats, Trace, Window

_LEAST_STEPS = 6
_LEAST_CONTRAST = 3.0
_ROUNDS = 4
_GRID = 13
_MOST_PERIODS = 6.0


@dataclass(frozen=True, slots=True)
class Response:
    """What a step test says of a sensor.

    Attributes:
        lag_s: how late a value is; ``averaging_s``: how long it was averaged.
        period_s: the median time between values that differ.
        contrast: difference of the two levels over the readings' spread around the fit.
        steps: how many steps the load made.
    """

    lag_s: float
    averaging_s: float
    period_s: float
    contrast: float
    steps: int


def response(trace: Trace, windows: Sequence[Window]) -> Response:
    """The sensor's answer to the load's steps.

    Args:
        trace: readings over several windows of work with idle between, of lengths that are no
            multiples of the sensor's period.
        windows: what ran when.

    Raises:
        UsageError: too few steps, or the load hardly shows in the readings.
    """
    runs = [window for window in windows if window.n]
    if 2 * len(runs) < _LEAST_STEPS:
        raise UsageError(
            f"a step test needs {_LEAST_STEPS // 2} windows of work, not {len(runs)}: repeat it"
        )
    period = _period_s(trace)
    lag, width = 0.0, period
    spans = (_MOST_PERIODS / 2 * period, _MOST_PERIODS / 2 * period)
    for _ in range(_ROUNDS):
        lag, width = _best(trace, runs, (lag, width), spans)
        spans = (spans[0] / 4, spans[1] / 4)
    residual, step = _fit(trace, runs, lag, width)
    spread = float(np.sqrt(residual / max(1, trace.read_w.size - 2)))
    contrast = abs(step) / max(spread, 1e-12)
    if contrast < _LEAST_CONTRAST:
        raise UsageError(
            "the load hardly shows in the readings: use a heavier model, or stop what else runs"
        )
    return Response(lag, width, period, contrast, 2 * len(runs))


def _period_s(trace: Trace) -> float:
    """Median time between readings that differ from the one before."""
    fresh = np.flatnonzero(np.diff(trace.read_w) != 0) + 1
    if fresh.size < 4:
        raise UsageError("the sensor's value changed too seldom to tell how often it is renewed")
    return float(np.median(np.diff(trace.read_s[fresh])))


def _best(
    trace: Trace, runs: Sequence[Window], middle: tuple[float, float], spans: tuple[float, float]
) -> tuple[float, float]:
    steps = np.linspace(-1.0, 1.0, _GRID)
    best, found = np.inf, middle
    for lag in np.unique(np.maximum(middle[0] + spans[0] * steps, 0.0)):
        for width in np.unique(np.maximum(middle[1] + spans[1] * steps, 0.0)):
            residual, _ = _fit(trace, runs, float(lag), float(width))
            if residual < best:
                best, found = residual, (float(lag), float(width))
    return found


def _fit(trace: Trace, runs: Sequence[Window], lag: float, width: float) -> tuple[float, float]:
    """Sum of squares of readings − (a + b · share of the averaging at work), and b."""
    share = _share(trace.read_s - lag, runs, max(width, 1e-6))
    design = np.stack([np.ones_like(share), share], axis=1)
    solution, *_ = np.linalg.lstsq(design, trace.read_w, rcond=None)
    rest = trace.read_w - design @ solution
    return float(rest @ rest), float(solution[1])


def _share(ends: Floats, runs: Sequence[Window], width: float) -> Floats:
    """Which share of [end − width, end] lies in a window of work, for each end."""
    edges = np.array([edge for run in runs for edge in (run.start_s, run.end_s)])
    worked = np.concatenate([[0.0], np.cumsum([run.seconds for run in runs])])
    at = np.repeat(worked, 2)[1:-1]

    def upto(t: Floats) -> Floats:
        return np.asarray(np.interp(t, edges, at), dtype=np.float64)

    return (upto(ends) - upto(ends - width)) / width
