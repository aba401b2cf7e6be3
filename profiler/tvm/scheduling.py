"""Scheduling every function of a lowered module, and tuning the heavy ones."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lwprof.profiler.tvm.fusion import Lowered
from lwprof.profiler.tvm.picking import Picked, Picker, identity_of
from lwprof.profiler.tvm.toolchain import worker_threads

UNTUNED = "untuned"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A module whose functions carry schedules.

    Attributes:
        module: the ``IRModule``.
        labels: for each function, the schedule that it runs.
        tiles: for each computation, its schedule; see :func:`picking.identity_of`.
    """

    module: Any
    labels: dict[str, str]
    tiles: dict[str, str]


def schedule(
    lowered: Lowered,
    picker: Picker,
    threads: int,
    tune_s: float,
    progress: Callable[[str, float], None],
) -> Scheduled:
    """Give each function its plan.

    Args:
        lowered: fused functions.
        picker: measures plans.
        threads: threads while measuring.
        tune_s: seconds for tuning, the heaviest functions first; 0 for none.
        progress: called with what is done and the fraction done.
    """
    counts = Counter(name for name, _ in lowered.calls)
    picked: dict[str, Picked] = {}
    with worker_threads(threads):
        for place, name in enumerate(counts):
            progress("picking tiles", place / len(counts))
            function = _function(lowered.module, name)
            found = picker.pick(function) if function is not None else None
            if found is not None:
                picked[name] = found
        if tune_s > 0:
            _tune(lowered, picker, picked, counts, tune_s, progress)
    module = lowered.module.clone()
    labels = dict.fromkeys(counts, UNTUNED)
    tiles: dict[str, str] = {}
    for name, choice in picked.items():
        variable = module.get_global_var(name)
        unscheduled = module[variable]
        made = picker.schedule(unscheduled, choice)
        if made is not None:
            module.update_func(variable, made)
            labels[name] = choice.label
            tiles[identity_of(unscheduled)] = choice.label
    return Scheduled(module, labels, tiles)


def _function(module: Any, name: str) -> Any | None:
    """The compiled function of that name; None for a library routine."""
    from tvm import tirx

    for variable in module.get_global_vars():
        if variable.name_hint == name:
            function = module[variable]
            return function if isinstance(function, tirx.PrimFunc) else None
    return None


def _tune(
    lowered: Lowered,
    picker: Picker,
    picked: dict[str, Picked],
    counts: Counter[str],
    tune_s: float,
    progress: Callable[[str, float], None],
) -> None:
    """Measure all plans of the functions that take most time.

    Each function gets the share of the budget that it has of the total time, so a
    long budget reaches every function and a short one the heavy ones.
    """
    started = time.monotonic()
    weights = {name: choice.latency_s * counts[name] for name, choice in picked.items()}
    order = sorted(weights, key=lambda name: -weights[name])
    remaining = sum(weights.values())
    for name in order:
        left = tune_s - (time.monotonic() - started)
        if left <= 0:
            break
        share = left * weights[name] / remaining if remaining > 0 else left
        deadline = time.monotonic() + share
        remaining -= weights[name]
        progress("tuning", 1 - left / tune_s)
        if picked[name].complete:
            continue
        picked[name] = picker.tune(
            _function(lowered.module, name),
            picked[name],
            functools.partial(_is_past, deadline),
        )


def _is_past(deadline: float) -> bool:
    return time.monotonic() > deadline
