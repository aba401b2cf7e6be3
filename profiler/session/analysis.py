"""From a model's stored blocks to its result. Pure: the same blocks give the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.profiler.kernels import Kernel
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session.prepare import Prepared, kernel_cost
from lwprof.profiler.session.result import Closure, KernelResult, ModelResult
from lwprof.profiler.statistics import (
    Estimate,
    fitness,
    latency_interval,
    mean_interval,
    percentile_interval,
)
from lwprof.profiler.store import Block
from lwprof.units import format_quantity

Array = NDArray[np.float64]

# What the profiler adds differs between operator types by about a microsecond, so a
# kernel's time below this cannot be read off the profile (docs/measuring.md).
PROFILE_RESOLUTION_S = 4e-6


@dataclass(frozen=True, slots=True)
class Alone:
    """A kernel measured alone: its time, and how ("profile" or "slope").

    Attributes:
        mean_s: what the visits say on average, before a time that cannot be told from
            nothing becomes "at most": sums need it, since bounds do not add up.
    """

    latency_s: Estimate
    method: str
    mean_s: float


def model_result(
    prepared: Prepared,
    end_to_end: Sequence[Block],
    in_context: Sequence[Block],
    alone: Mapping[str, Alone],
    sustained: Sequence[Block] = (),
    level: float = 0.95,
) -> ModelResult:
    """The result of one model from its blocks.

    Args:
        prepared: the model and its kernels.
        end_to_end: blocks of ``scripts.end_to_end``.
        in_context: blocks of ``scripts.in_context``; empty when kernels were not asked for.
        alone: isolated measurements by workload key.
    """
    graph = prepared.graph
    fit = unflagged(end_to_end)
    verdict, reason = fitness([b.flags for b in (*end_to_end, *in_context)])
    views = [reading.end_to_end(b.payload["script"], b.payload["record"]) for b in fit]
    times = [view.times_s for view in views]
    kernels, gap, closure = _kernels(prepared, unflagged(in_context), alone, level)
    return ModelResult(
        name=graph.name,
        sha256=graph.sha256,
        latency_s=latency_interval([float(np.median(t)) for t in times], level=level,
                                   n=sum(map(len, times)),
                                   positions=[float(b.sequence) for b in fit]),
        latency_p95_s=percentile_interval(times, 0.95, level=level),
        latency_p99_s=percentile_interval(times, 0.99, level=level),
        load_s=latency_interval([view.load_s for view in views], level=level),
        first_inference_s=_interval([view.first_s for view in views], level),
        peak_memory_bytes=_memory([view.memory_bytes for view in views], level),
        gap_s=gap,
        closure=closure,
        verdict=verdict,
        reason=reason,
        flags=tuple(sorted({flag for b in (*end_to_end, *in_context) for flag in b.flags})),
        kernels=kernels,
        macs=graph.macs,
        params=graph.params,
        schedule=prepared.schedule,
        arena_bytes=prepared.arena_bytes,
        sustained=sustained_state(sustained, level),
        blocks=[
            {"median_s": float(np.exp(b.log_median)), "n": b.n, "flags": list(b.flags),
             "sequence": b.sequence}
            for b in end_to_end if b.log_median is not None
        ],
    )  # fmt: skip


def sustained_state(blocks: Sequence[Block], level: float = 0.95) -> dict[str, Any] | None:
    """The latency after a long load, beside the latency at its start; None without such a block.

    The steady state is the last third of the load. Its interval allows for the correlation
    of neighbouring stretches, but it is one process: it says nothing about other processes.
    """
    if not blocks:
        return None
    payload = blocks[-1].payload
    slices = reading.slices_s(payload["script"], payload["record"], "plain")
    medians = np.array([np.median(part) for part in slices])
    third = max(1, len(medians) // 3)
    steady = mean_interval(medians[-third:], level=level, serial=third > 1)
    ratio = steady.value / float(medians[0])
    seconds = float(sum(part.sum() for part in slices))
    return {
        "seconds": seconds,
        "initial_s": float(medians[0]),
        "latency_s": steady.to_json(),
        "ratio": ratio,
        "flags": list(blocks[-1].flags),
        "summary": f"{format_quantity(steady.value, 's')} after {seconds:.0f} s of load, "
        f"{ratio:.2f} × the start",
    }


def overhead_estimates(blocks: Sequence[Block], level: float = 0.95) -> dict[str, Estimate]:
    """Seconds per call and per gap, from the chains of every unflagged profiled block."""
    found = [
        reading.in_context(b.payload["script"], b.payload["record"]).overhead
        for b in unflagged([b for b in blocks if b.arm == "in_context"])
    ]
    if not found:
        return {}
    return {
        "call_s": mean_interval(np.array([o.call_s for o in found]), level=level),
        "gap_s": mean_interval(np.array([o.gap_s for o in found]), level=level),
    }


def unflagged(blocks: Sequence[Block]) -> list[Block]:
    """The blocks that nothing disturbed; all of them where everything was disturbed.

    Flags come from covariates only, so leaving flagged blocks out does not bias the
    interval. When too many are flagged the verdict says so; the numbers are still shown.
    """
    clean = [b for b in blocks if not b.flags]
    return clean if 2 * len(clean) >= len(blocks) else list(blocks)


def _interval(values: Sequence[float | None], level: float) -> Estimate | None:
    known = [value for value in values if value is not None and value > 0]
    return latency_interval(known, level=level) if known else None


def _memory(values: Sequence[int | None], level: float) -> Estimate | None:
    known = [float(value) for value in values if value is not None and value > 0]
    return mean_interval(np.asarray(known), level=level) if known else None


def _kernels(
    prepared: Prepared,
    in_context: Sequence[Block],
    alone: Mapping[str, Alone],
    level: float,
) -> tuple[tuple[KernelResult, ...], Estimate | None, Closure | None]:
    if not in_context:
        return (), None, None
    views = [reading.in_context(b.payload["script"], b.payload["record"]) for b in in_context]
    same, orders = aligned(views, {k.runtime_node for k in prepared.kernels if k.nodes})
    kernels = match_kernels(prepared.kernels, same[0])
    # The gap is fixed here, before any end-to-end time is looked at.
    gaps = np.array([view.overhead.gap_total_s(len(kernels)) for view in same])
    corrected = np.array([view.kernels_s[order] for view, order in zip(same, orders, strict=True)])
    small = _small(kernels, corrected, alone)
    estimates = []
    for index, kernel in enumerate(kernels):
        key = kernel.workload.key if kernel is not None else ""
        estimates.append(_estimate(corrected[:, index], bool(small[index]), alone.get(key), level))
    sums = _sums(kernels, corrected, small, alone) + gaps
    plain = np.array([view.end_to_end_s for view in same])
    error = float(np.mean(sums / plain)) - 1
    closure = Closure(sum_s=float(sums.mean()), end_to_end_s=float(plain.mean()), error=error)
    results = _results(prepared, kernels, same[0], estimates, alone)
    return results, mean_interval(gaps, level=level), closure


def _small(
    kernels: Sequence[Kernel | None], corrected: Array, alone: Mapping[str, Alone]
) -> NDArray[np.bool_]:
    """Which kernels their profile cannot time; shape (kernels,).

    On a busy machine the profile of a tiny kernel may lie above its resolution by chance:
    one that is tiny alone counts as tiny unless the profile clearly says otherwise (its data
    may be in no cache when the network gets there).
    """
    tiny = np.array([
        kernel is not None
        and (found := alone.get(kernel.workload.key)) is not None
        and found.method == "slope"
        and found.mean_s < PROFILE_RESOLUTION_S
        for kernel in kernels
    ])  # fmt: skip
    count = len(corrected)
    scatter = corrected.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else 0.0
    lowest = corrected.mean(axis=0) - np.where(tiny, 2.0 * scatter, 0.0)
    return np.asarray(lowest < PROFILE_RESOLUTION_S, dtype=np.bool_)


def _sums(
    kernels: Sequence[Kernel | None],
    corrected: Array,
    small: NDArray[np.bool_],
    alone: Mapping[str, Alone],
) -> Array:
    """Seconds of all kernels together, in each block; shape (blocks,).

    A kernel enters by the block's own profile. Those below its resolution enter as a group,
    by the slope of chains of themselves; where one has none, its profile is put right by
    what the profile of the others of the group is off by.
    """
    found = [alone.get(kernel.workload.key) if kernel is not None else None for kernel in kernels]
    slope = np.array([a.mean_s if a and a.method == "slope" else np.nan for a in found])
    by_slope, by_profile = small & ~np.isnan(slope), small & np.isnan(slope)
    values = corrected.copy()
    if by_slope.any():
        off = (corrected[:, by_slope] - slope[by_slope]).mean(axis=1)
        values[:, by_slope] = slope[by_slope]
        values[:, by_profile] -= off[:, None]
    # One corrected time may scatter below zero, but not all the kernels together.
    return np.asarray(np.maximum(values.sum(axis=1), 0.0), dtype=np.float64)


def _estimate(values: Array, small: bool, alone: Alone | None, level: float) -> Estimate:
    if not small:
        return mean_interval(values, level=level)
    if alone is not None and alone.method == "slope":
        return alone.latency_s
    bound = float(max(np.max(values), PROFILE_RESOLUTION_S))
    return Estimate(bound, 0.0, bound, level=level, blocks=len(values), n=None, at_most=True)


def aligned(
    views: Sequence[reading.InContext], anchored: set[str]
) -> tuple[list[reading.InContext], list[NDArray[np.intp]]]:
    """The blocks that ran the same kernels as the first, and where in each the first's stand.

    A runtime may order independent branches differently in each process, and numbers the
    nodes that it inserts anew: original nodes are found by name, inserted ones by their
    type, the shape of what they make, and how many of that kind came before.

    Args:
        anchored: names that stem from the original graph.
    """
    reference = _node_keys(views[0], anchored)
    same, orders = [], []
    for view in views:
        place = {key: index for index, key in enumerate(_node_keys(view, anchored))}
        if place.keys() == set(reference):
            same.append(view)
            orders.append(np.array([place[key] for key in reference], dtype=np.intp))
    return same, orders


def _node_keys(view: reading.InContext, anchored: set[str]) -> list[tuple[str, int]]:
    keys, seen = [], dict[str, int]()
    for name, op, shape in zip(view.nodes, view.ops, _shapes(view), strict=True):
        text = name if name in anchored else f"inserted {op} {shape}"
        seen[text] = seen.get(text, 0) + 1
        keys.append((text, seen[text]))
    return keys


def _shapes(view: reading.InContext) -> tuple[tuple[int, ...] | None, ...]:
    return view.shapes or (None,) * len(view.nodes)


def match_kernels(kernels: Sequence[Kernel], view: reading.InContext) -> list[Kernel | None]:
    """The kernel of each node that ran: by name, else the next unmatched one of its type that
    makes the same shape, else the next one of its type.

    Kernels that the runtime inserted are never matched by name: it draws their numbers anew
    in each process, so that the same name stands for another kernel in the next.

    None where the runtime ran a node that its optimised graph does not show.
    """
    by_name = {kernel.runtime_node: kernel for kernel in kernels if kernel.nodes}
    out: list[Kernel | None] = [by_name.get(name) for name in view.nodes]
    waiting: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        if not kernel.nodes or kernel.runtime_node not in view.nodes:
            waiting.setdefault(kernel.runtime_op, []).append(kernel)
    rows = list(zip(view.ops, _shapes(view), strict=True))
    for exactly in (True, False):
        for place, (op, shape) in enumerate(rows):
            queue = waiting.get(op, [])
            fits = [k for k in queue if not exactly or _makes(k) == shape]
            if out[place] is None and fits:
                out[place] = fits[0]
                queue.remove(fits[0])
    return out


def _makes(kernel: Kernel) -> tuple[int, ...] | None:
    """Shape of a kernel's first output; None where it is not wholly known."""
    made = kernel.workload.description["outputs"]
    shape = made[0]["shape"] if made else None
    return None if shape is None or None in shape else tuple(shape)


def _results(
    prepared: Prepared,
    kernels: Sequence[Kernel | None],
    view: reading.InContext,
    estimates: Sequence[Estimate],
    alone: Mapping[str, Alone],
) -> tuple[KernelResult, ...]:
    operators = {operator.name: operator for operator in prepared.graph.operators}
    results = []
    rows = zip(kernels, view.ops, view.providers, estimates, strict=True)
    for kernel, op, provider, estimate in rows:
        if kernel is None:
            results.append(KernelResult("", (op,), (), 1, None, None, estimate, None, provider))
            continue
        macs, moved = kernel_cost(kernel, operators)
        single = alone.get(kernel.workload.key)
        results.append(
            KernelResult(
                workload=kernel.workload.key,
                operators=tuple(kernel.operators),
                nodes=tuple(kernel.nodes),
                count=1,
                macs=macs,
                bytes=moved,
                latency_s=estimate,
                isolated_latency_s=None if single is None else single.latency_s,
                provider=provider,
                schedule=prepared.schedules.get(kernel.runtime_node),
            )
        )
    return tuple(results)
