"""What one finished block says: raw records reduced to arrays, in seconds.

A record is read beside the script that produced it, since results come back in the
order of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import DeviceError
from lwprof.profiler.session import chains
from lwprof.profiler.session.chains import Overhead
from lwprof.profiler.statistics import central_mean

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One fresh process running plain inferences.

    Attributes:
        times_s: every timed inference, shape (n,).
        load_s: creating the session; ``first_s``: the first inference after it.
        memory_bytes: peak resident memory of the process above what it held before
            the model was loaded; None where the device does not tell.
    """

    times_s: Array
    load_s: float
    first_s: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class InContext:
    """One fresh process in which plain and profiled runs alternated.

    Attributes:
        plain_s: plain inferences, shape (runs,).
        nodes: names of the kernels in the order in which they ran; ``ops``: their types;
            ``shapes``: of their first outputs, None where the runtime does not tell.
        reported_s: what the profiler reported, shape (runs, nodes).
        inputs: number of inputs of each node, shape (nodes,).
        between_s: what the profiled runs spent per node outside the reported times.
        overhead: from the synthetic chains of the same process.
    """

    plain_s: Array
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    providers: tuple[str, ...]
    reported_s: Array
    inputs: NDArray[np.int64]
    between_s: float
    overhead: Overhead
    shapes: tuple[tuple[int, ...] | None, ...] = ()

    @property
    def kernels_s(self) -> Array:
        """Corrected mean of each kernel over the central whole iterations, shape (nodes,).

        Central iterations are chosen by their total, since medians of parts do not add
        up to the median of the whole. A kernel faster than the profiler's scatter may
        come out negative here; the caller bounds it.
        """
        means = self.reported_s[_central(self.reported_s.sum(axis=1))].mean(axis=0)
        bias = self.overhead.profiler_bias_s(self.inputs, self.between_s)
        return np.asarray(means - bias, dtype=np.float64)

    @property
    def end_to_end_s(self) -> float:
        """Mean of the plain inferences over the central ones, seconds."""
        return float(central_mean(self.plain_s))


def end_to_end(script: Mapping[str, Any], record: Mapping[str, Any]) -> EndToEnd:
    """Reads a block made by ``scripts.end_to_end``."""
    load = _results(script, record, "load")[0]
    return EndToEnd(
        times_s=_times(script, record, "plain"),
        load_s=float(load["load_s"]),
        first_s=_optional(load.get("first_inference_s")),
        memory_bytes=_memory(record),
    )


def in_context(script: Mapping[str, Any], record: Mapping[str, Any]) -> InContext:
    """Reads a block made by ``scripts.in_context``."""
    profiles = _profiles(script, record)
    profile = profiles["profiled"]
    names = tuple(str(node["name"]) for node in profile["nodes"])
    return InContext(
        plain_s=_times(script, record, "plain"),
        nodes=names,
        ops=tuple(str(node.get("op", "")) for node in profile["nodes"]),
        providers=tuple(str(node.get("provider", "")) for node in profile["nodes"]),
        reported_s=_durations(profile),
        inputs=_inputs(profile),
        between_s=_between(profile),
        overhead=_overhead(script, record, profiles),
        shapes=tuple(_shape(node.get("shape")) for node in profile["nodes"]),
    )


@dataclass(frozen=True, slots=True)
class Isolated:
    """Single-kernel models of one process.

    Attributes:
        reported_s: by workload key: names of the nodes that ran, the number of inputs of
            each, and what the profiler reported, shape (runs, nodes).
    """

    reported_s: dict[str, tuple[tuple[str, ...], NDArray[np.int64], Array]]
    overhead: Overhead


def isolated(script: Mapping[str, Any], record: Mapping[str, Any]) -> Isolated:
    """Reads a block made by ``scripts.isolated``: by workload, node names and durations."""
    profiles = _profiles(script, record)
    kernels = {
        key: (tuple(str(node["name"]) for node in profile["nodes"]), _inputs(profile),
              _durations(profile))
        for key, profile in profiles.items()
        if not key.endswith("+p")
    }  # fmt: skip
    return Isolated(kernels, _overhead(script, record, profiles))


def pair_log_ratio(script: Mapping[str, Any], record: Mapping[str, Any]) -> float:
    """log(B/A) of a block made by ``scripts.pair``: the median over its ABBA quads.

    Each quad is two slices of each arm, so a drift that is linear over a quad cancels.
    """
    slices: dict[int, list[float]] = {0: [], 1: []}
    for step, result in _steps(script, record):
        if step["do"] == "time":
            times = result["times_ns"]["plain"][0]
            slices[step["worker"]].append(float(np.log(np.median(times))))
    a, b = (np.asarray(slices[w]) for w in (0, 1))
    whole = min(len(a), len(b)) // 2 * 2
    differences = (b[:whole] - a[:whole]).reshape(-1, 2).mean(axis=1)
    return float(np.median(differences))


def pair_medians_s(script: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[float, float]:
    """Median seconds per inference of each arm of a pair block."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for step, result in _steps(script, record):
        if step["do"] == "time":
            times[step["worker"]].extend(result["times_ns"]["plain"][0])
    return float(np.median(times[0])) * 1e-9, float(np.median(times[1])) * 1e-9


def slices_s(script: Mapping[str, Any], record: Mapping[str, Any], session: str) -> list[Array]:
    """The timed inferences of ``session``, one array of seconds per slice."""
    out: list[Array] = []
    for step, result in _steps(script, record):
        if step["do"] == "time" and session in result["times_ns"]:
            out += [np.asarray(s, dtype=np.float64) * 1e-9 for s in result["times_ns"][session]]
    return out


def _steps(
    script: Mapping[str, Any], record: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    steps, results = script["steps"], record["steps"]
    if len(steps) != len(results):
        raise DeviceError(
            f"the device answered {len(results)} of {len(steps)} steps of a block; measure again"
        )
    return zip(steps, results, strict=True)


def _results(
    script: Mapping[str, Any], record: Mapping[str, Any], do: str
) -> list[Mapping[str, Any]]:
    return [result for step, result in _steps(script, record) if step["do"] == do]


def _times(script: Mapping[str, Any], record: Mapping[str, Any], session: str) -> Array:
    parts = slices_s(script, record, session)
    if not parts:
        raise DeviceError(f"the device returned no times for session {session!r}; measure again")
    return np.concatenate(parts)


def _profiles(script: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        str(step["session"]): result
        for step, result in _steps(script, record)
        if step["do"] == "profile"
    }


def _central(totals: Array) -> NDArray[np.intp]:
    """Places of the central half of the runs."""
    order = np.argsort(totals, kind="stable")
    quarter = len(order) // 4
    return order[quarter : max(quarter + 1, len(order) - quarter)]


def _between(profile: Mapping[str, Any]) -> float:
    """Seconds per node that a profiled run spends outside the reported times."""
    rows = _durations(profile)
    runs = np.asarray(profile["run_ns"], dtype=np.float64) * 1e-9
    if len(runs) != len(rows) or not rows.shape[1]:  # a network of constants runs no node
        return 0.0
    outside = (runs - rows.sum(axis=1))[_central(runs)]
    return max(0.0, float(outside.mean())) / int(rows.shape[1])


def _inputs(profile: Mapping[str, Any]) -> NDArray[np.int64]:
    """Number of inputs of each node; 1 where the runtime does not tell."""
    return np.array([node.get("inputs") or 1 for node in profile["nodes"]], dtype=np.int64)


def _shape(told: Any) -> tuple[int, ...] | None:
    return tuple(int(extent) for extent in told) if isinstance(told, list | tuple) else None


def _durations(profile: Mapping[str, Any]) -> Array:
    rows = np.asarray(profile["durations_ns"], dtype=np.float64) * 1e-9
    if rows.ndim != 2 or rows.shape[1] != len(profile["nodes"]) or rows.shape[0] == 0:
        raise DeviceError("the device's profile has no whole run in it; measure again")
    return rows


def _overhead(
    script: Mapping[str, Any],
    record: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Any]],
) -> Overhead:
    names = [name for name in (chains.SHORT, chains.LONG, chains.WIDE) if f"{name}+p" in profiles]
    if not names:
        # TVM has no profiler of its own: the agent reads the clock between kernels, and says
        # what a reading costs and how long runs take from which the kernels are left out.
        own = profiles.get("profiled", {})
        return Overhead(
            call_s=_median_s(own.get("gap_ns")),
            gap_s=0.0,
            profiler_s=_median_s(own.get("bias_ns")),
            profiler_per_input_s=0.0,
        )
    plain = {name: _times(script, record, name) for name in names}
    reported = {name: _durations(profiles[f"{name}+p"]) for name in names}
    return chains.overhead(plain, reported, _between(profiles[f"{chains.LONG}+p"]))


def _memory(record: Mapping[str, Any]) -> int | None:
    workers: Sequence[Mapping[str, Any]] = record.get("workers", ())
    if not workers:
        return None
    start, peak = workers[0].get("rss_start_bytes"), workers[0].get("rss_peak_bytes")
    return int(peak - start) if start is not None and peak is not None else None


def _median_s(nanoseconds: Sequence[int] | None) -> float:
    return float(np.median(nanoseconds)) * 1e-9 if nanoseconds else 0.0


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)
