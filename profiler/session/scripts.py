"""Block scripts: what one visit of a subject does, step by step, on the device.

A block runs in fresh worker processes and is the unit of every interval. The
agent knows nothing of these designs; it executes the steps and returns raw times.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Enough iterations for a stable median, short enough that the process, which is
# the unit of the interval, stays cheap.
_BLOCK_S = 0.2
_MIN_ITERATIONS = 5
_MAX_ITERATIONS = 2000
_IN_CONTEXT_S = 0.4
VISIT_S = 0.02
_WARM_MIN_N = 3
_WARM_MIN_S = 0.05
# Each event is about 650 bytes of JSON that the device must parse: this many take it
# a second or so (the profiler itself stops at a million).
_PROFILER_EVENTS = 60_000


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model on the device, ready to be loaded by a worker.

    Attributes:
        blob: SHA-256 under which the device holds it.
        inputs: one data description per input (see ``graph.input_specs``).
        options: runtime options for an unprofiled session.
    """

    blob: str
    inputs: Sequence[dict[str, Any]]
    options: dict[str, Any]


def _block(workers: int, steps: list[dict[str, Any]], affinity: Sequence[int]) -> dict[str, Any]:
    pinned = list(affinity) or None
    return {
        "id": uuid.uuid4().hex,
        "workers": [{"affinity": pinned, "nice": None, "env": {}} for _ in range(workers)],
        "steps": steps,
    }


def _load(worker: int, session: str, model: Runnable, *, profile: bool = False) -> dict[str, Any]:
    return {
        "do": "load", "worker": worker, "session": session, "model": model.blob,
        "options": {**model.options, "profile": profile}, "inputs": list(model.inputs),
    }  # fmt: skip


def _warm(worker: int, sessions: list[str], latency_s: float) -> dict[str, Any]:
    # A slow network is warm after a few runs; a fast one needs time, not runs.
    return {"do": "warm", "worker": worker, "sessions": sessions, "min_n": _WARM_MIN_N,
            "min_s": _WARM_MIN_S, "max_s": max(2.0, 6 * latency_s * len(sessions))}  # fmt: skip


def _warm_chains(sessions: list[str]) -> dict[str, Any]:
    # A profiled chain writes an event per node and run: a few runs, not a stretch of time.
    return {"do": "warm", "worker": 0, "sessions": sessions, "min_n": 10, "min_s": 0.0,
            "max_s": 2.0}  # fmt: skip


def _time(
    worker: int, sessions: list[str], *, slices: int, n: int, order: str = "abba"
) -> dict[str, Any]:
    return {"do": "time", "worker": worker, "sessions": sessions, "slices": slices, "n": n,
            "slice_s": None, "order": order, "max_s": 600.0}  # fmt: skip


def iterations(latency_s: float, seconds: float = _BLOCK_S) -> int:
    """Iterations that fill about ``seconds``, within the bounds of a block."""
    wanted = round(seconds / max(latency_s, 1e-7))
    return max(_MIN_ITERATIONS, min(_MAX_ITERATIONS, wanted))


def end_to_end(
    model: Runnable, latency_s: float, affinity: Sequence[int], least_s: float = 0.0
) -> dict[str, Any]:
    """One fresh process: load, first inference, warm up, time plain inferences.

    Args:
        least_s: time them at least so long: a process that is slow to start is worth more.
    """
    steps = [
        _load(0, "plain", model),
        _warm(0, ["plain"], latency_s),
        _time(0, ["plain"], slices=1, n=iterations(latency_s, max(_BLOCK_S, least_s))),
    ]
    return _block(1, steps, affinity)


def in_context(
    model: Runnable,
    chains: dict[str, Runnable],
    latency_s: float,
    nodes: int,
    affinity: Sequence[int],
    least_s: float = 0.0,
) -> dict[str, Any]:
    """One fresh process in which a plain and a profiled session of the model alternate.

    The synthetic chains, plain and profiled, are visited in the same process, so that
    the profiler's cost and the gap between kernels are known at the speed that the
    machine has at that moment.
    """
    runs = round(max(_IN_CONTEXT_S, least_s) / max(latency_s, 1e-7))
    runs = max(6, min(runs, _PROFILER_EVENTS // max(1, nodes)))
    slices = min(20, runs)
    n = runs // slices
    steps = [_load(0, "plain", model), _load(0, "profiled", model, profile=True)]
    for name, chain in chains.items():
        steps += [_load(0, name, chain), _load(0, f"{name}+p", chain, profile=True)]
    overhead = []
    if chains:
        sessions = [s for name in chains for s in (name, f"{name}+p")]
        steps.append(_warm_chains(sessions))
        overhead = [_time(0, sessions, slices=4, n=5)]
    steps.append(_warm(0, ["plain", "profiled"], latency_s))
    # Chains before, between and after, so that they see the same drift as the model.
    first, second = (
        [_time(0, ["plain", "profiled"], slices=part, n=n)]
        for part in (slices - slices // 2, slices // 2)
    )
    steps += [*overhead, *first, *overhead, *second, *overhead]
    steps += [{"do": "profile", "worker": 0, "session": "profiled"}]
    steps += [{"do": "profile", "worker": 0, "session": f"{name}+p"} for name in chains]
    return _block(1, steps, affinity)


def isolated(
    kernels: Sequence[tuple[str, Runnable]],
    slopes: Sequence[tuple[str, Runnable, Runnable]],
    chains: dict[str, Runnable],
    affinity: Sequence[int],
    visit_s: float = VISIT_S,
) -> dict[str, Any]:
    """One fresh process that visits many single-kernel models, in the order given.

    Args:
        kernels: workload key and its single-kernel model. It is profiled, so that layout
            changes around a lone kernel are told apart from the kernel itself; the
            profiler's cost comes from the chains of the same process.
        slopes: workload key and two models holding few and many copies of the kernel,
            for kernels too small for the profiler: plain runs, the difference counts.
        chains: synthetic chains, visited plain and profiled.
    """
    steps: list[dict[str, Any]] = []
    for name, chain in chains.items():
        steps += [_load(0, name, chain), _load(0, f"{name}+p", chain, profile=True)]
    sessions = [s for name in chains for s in (name, f"{name}+p")]
    if sessions:
        steps += [_warm_chains(sessions), _time(0, sessions, slices=6, n=5)]
    for key, kernel in kernels:
        steps.append(_load(0, key, kernel, profile=True))
        steps += _visit([key], 1, visit_s)
        steps += [{"do": "profile", "worker": 0, "session": key},
                  {"do": "unload", "worker": 0, "session": key}]  # fmt: skip
    for key, few, many in slopes:
        pair_of = [f"{key}@few", f"{key}@many"]
        steps += [_load(0, pair_of[0], few), _load(0, pair_of[1], many)]
        steps += _visit(pair_of, 6, visit_s)
        steps += [{"do": "unload", "worker": 0, "session": session} for session in pair_of]
    steps += [{"do": "profile", "worker": 0, "session": f"{name}+p"} for name in chains]
    return _block(1, steps, affinity)


def _visit(sessions: list[str], slices: int, visit_s: float) -> list[dict[str, Any]]:
    return [
        {"do": "warm", "worker": 0, "sessions": sessions, "min_n": 2, "min_s": 0.002, "max_s": 2.0},
        {"do": "time", "worker": 0, "sessions": sessions, "slices": slices, "n": None,
         "slice_s": visit_s / slices, "order": "abba", "max_s": 10.0},
    ]  # fmt: skip


def pair(
    a: Runnable,
    b: Runnable,
    latency_s: tuple[float, float],
    affinity: Sequence[int],
    *,
    a_first: bool,
    slices: int = 24,
    slice_s: float = 0.008,
) -> dict[str, Any]:
    """Two fresh processes alive at once, timed in alternating ABBA slices.

    Args:
        a_first: which arm starts; drawn at random by the caller for each block.
        slices: slices per arm; a multiple of 2, so that the ABBA pattern is whole.
    """
    models = (a, b)
    order = (0, 1) if a_first else (1, 0)
    steps = [_load(w, "plain", models[w]) for w in order]
    steps += [_warm(w, ["plain"], latency_s[w]) for w in order]
    for index in range(slices):
        for w in order if index % 2 == 0 else order[::-1]:
            n = max(1, round(slice_s / max(latency_s[w], 1e-7)))
            steps.append(_time(w, ["plain"], slices=1, n=min(n, _MAX_ITERATIONS)))
    return _block(2, steps, affinity)


def sustained(
    model: Runnable, seconds: float, latency_s: float, affinity: Sequence[int]
) -> dict[str, Any]:
    """One process under continuous load for ``seconds``, timed all the while."""
    n = iterations(latency_s, 1.0)
    step = _time(0, ["plain"], slices=max(1, round(seconds / (n * latency_s))), n=n)
    step["max_s"] = seconds * 1.5 + 10
    return _block(1, [_load(0, "plain", model), step], affinity)
