"""Kernels measured alone: which ones, how often, and what their blocks say."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.agents import Agent
from lwprof.agents.client import Prepared
from lwprof.errors import LwprofError
from lwprof.profiler.kernels import Workload, onnxruntime_kernels
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session.analysis import PROFILE_RESOLUTION_S, Alone
from lwprof.profiler.session.chains import LONG, SHORT, SPAN
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import Estimate, central_mean, mean_interval
from lwprof.profiler.store import Block

Array = NDArray[np.float64]

VISITS = "isolated-visits"
"""Subject key of blocks in which one process visits many single-kernel models."""

FEW, MANY = 4, 24
_PER_BLOCK = 40
# A kernel is measured by slope where the profile cannot tell its time from its own cost.
_SLOPE_BELOW_S = 4 * PROFILE_RESOLUTION_S


@dataclass(slots=True)
class Single:
    """One workload's single-kernel models on the device.

    Attributes:
        one: the kernel once; ``node`` is its name in the runtime's profile.
        few, many: several copies in a row, made when the first visit shows the kernel to be
            small.
    """

    workload: Workload
    one: Runnable
    node: str
    few: Runnable | None = None
    many: Runnable | None = None


@dataclass(slots=True)
class Bench:
    """The single-kernel models of one run.

    Attributes:
        refused: what cannot be measured alone, and why, by workload key.
        single_only: small kernels of which no several copies run, and why.
    """

    agent: Agent
    settings: Settings
    threads: int
    singles: dict[str, Single] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    single_only: dict[str, str] = field(default_factory=dict)

    def add(self, workloads: Iterable[Workload]) -> None:
        """Makes the single-kernel model of each workload and learns its node's name."""
        fresh = {w.key: w for w in workloads
                 if w.key not in self.singles and w.key not in self.refused}  # fmt: skip
        graphs: dict[str, Any] = {}
        for key, workload in fresh.items():
            try:
                graphs[key] = _model_of(workload)
            except LwprofError as error:
                # Named in the result, never dropped in silence.
                self.refused[key] = str(error)
        runnables = dict(zip(graphs, self._runnables(list(graphs.values())), strict=True))
        answers = self._prepared(list(runnables.values()))
        for (key, runnable), answer in zip(runnables.items(), answers, strict=True):
            try:
                node = _only_kernel(fresh[key], graphs[key], answer)
            except LwprofError as error:
                self.refused[key] = str(error)
            else:
                self.singles[key] = Single(fresh[key], runnable, node)

    def _prepared(self, runnables: Sequence[Runnable]) -> Sequence[Prepared | LwprofError]:
        """What the runtime makes of each; asked at once, since a round trip costs more."""
        if not runnables:
            return []
        return self.agent.prepare_all([(r.blob, r.options, r.inputs) for r in runnables])

    def add_copies(self, keys: Iterable[str]) -> None:
        """Makes the models with several copies of small kernels, in a row.

        Only in a row: copies side by side are graph outputs each, and carrying those out
        of the runtime costs more than a small kernel does.

        ONNX Runtime merges neighbours of some types (two transpositions, two clips). Where it
        does, its optimisations are left out: a kernel that is one operator needs none.
        """
        fresh = [key for key in keys
                 if self.singles[key].few is None and key not in self.single_only]  # fmt: skip
        wanted: dict[tuple[str, int], Any] = {}
        for key in fresh:
            workload = self.singles[key].workload
            if not workload.chainable:
                self.single_only[key] = "its output is not its input's shape"
                continue
            try:
                wanted |= {(key, n): _model_of(workload, n) for n in (FEW, MANY)}
            except LwprofError as error:
                self.single_only[key] = str(error)
        runnables = dict(zip(wanted, self._runnables(list(wanted.values())), strict=True))
        found = self._as_many(wanted, runnables)
        merged = {
            place: Runnable(r.blob, r.inputs, {**r.options, "optimisation": "none"})
            for place, r in runnables.items() if place not in found
        }  # fmt: skip
        found |= self._as_many(wanted, merged)
        for key in {key for key, _ in wanted}:
            single = self.singles[key]
            single.few, single.many = found.get((key, FEW)), found.get((key, MANY))
            if single.few is None or single.many is None:
                single.few = single.many = None
                self.single_only.setdefault(key, "the runtime merges or refuses copies of it")

    def _as_many(
        self, graphs: Mapping[tuple[str, int], Any], tried: Mapping[tuple[str, int], Runnable]
    ) -> dict[tuple[str, int], Runnable]:
        """Those of which as many kernels really run as there are copies."""
        found = {}
        for (place, runnable), answer in zip(
            tried.items(), self._prepared(list(tried.values())), strict=True
        ):
            # It has run once there: what the runtime refuses must not end a block later.
            if isinstance(answer, LwprofError) or answer.optimised is None:
                continue
            kernels = onnxruntime_kernels(graphs[place], _parse(answer.optimised))
            if [k.workload.key for k in kernels].count(place[0]) == place[1]:
                found[place] = runnable
        return found

    def _runnables(self, graphs: Sequence[Any]) -> list[Runnable]:
        from lwprof.profiler.graph import input_specs

        blobs = self.agent.put_all([graph.proto.SerializeToString() for graph in graphs])
        # Equal copies must stay copies.
        options = {**self.settings.runtime_options(self.threads),
                   "disabled_optimizers": ["CommonSubexpressionElimination"]}  # fmt: skip
        return [
            Runnable(blob, input_specs(graph), options)
            for blob, graph in zip(blobs, graphs, strict=True)
        ]

    def visits(
        self, keys: Sequence[str], small: Iterable[str], rng: random.Random
    ) -> list[tuple[list[tuple[str, Runnable]], list[tuple[str, Runnable, Runnable]]]]:
        """The visits of one round, in random order, split over processes of bearable length."""
        order = [key for key in keys if key in self.singles]
        rng.shuffle(order)
        tiny = set(small)
        out = []
        for start in range(0, len(order), _PER_BLOCK):
            part = order[start : start + _PER_BLOCK]
            singles = [self.singles[key] for key in part]
            slopes = [
                (s.workload.key, s.few, s.many)
                for s in singles
                if s.workload.key in tiny and s.few is not None and s.many is not None
            ]
            out.append(([(s.workload.key, s.one) for s in singles], slopes))
        return out


def small_kernels(blocks: Sequence[Block], bench: Bench) -> set[str]:
    """Keys of the kernels that the profile is too coarse for, from the visits so far."""
    profiled = _by_profile(blocks, bench)
    return {key for key, values in profiled.items() if np.mean(values) < _SLOPE_BELOW_S}


def alone(blocks: Sequence[Block], bench: Bench, level: float = 0.95) -> dict[str, Alone]:
    """Each kernel's isolated time, from the blocks of all visits."""
    out = {}
    slopes = _by_slope(blocks, bench)
    for key, values in _by_profile(blocks, bench).items():
        mean = float(np.mean(slopes.get(key, values)))
        if key in slopes:
            out[key] = Alone(_positive(np.array(slopes[key]), level), "slope", mean)
        elif np.mean(values) >= PROFILE_RESOLUTION_S:
            out[key] = Alone(mean_interval(np.array(values), level=level), "profile", mean)
        else:
            bound = float(max(np.max(values), PROFILE_RESOLUTION_S))
            out[key] = Alone(Estimate(bound, 0.0, bound, level=level, blocks=len(values),
                                      at_most=True), "profile", mean)  # fmt: skip
    return out


def _positive(values: Array, level: float) -> Estimate:
    """The mean, or "at most" where the interval reaches zero."""
    estimate = mean_interval(values, level=level)
    if estimate.value > 0 and estimate.low > 0:
        return estimate
    # One visit bounds nothing by itself: the method's own resolution does then.
    high = estimate.high if np.isfinite(estimate.high) else PROFILE_RESOLUTION_S
    bound = max(high, 1e-8)
    return Estimate(bound, 0.0, bound, level=level, blocks=len(values), at_most=True)


def _by_profile(blocks: Sequence[Block], bench: Bench) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {}
    for block in blocks:
        view = reading.isolated(block.payload["script"], block.payload["record"])
        for key, (names, inputs, durations) in view.reported_s.items():
            single = bench.singles.get(key)
            if single is None or single.node not in names:
                continue
            place = names.index(single.node)
            bias = float(view.overhead.profiler_bias_s(inputs)[place])
            out.setdefault(key, []).append(float(central_mean(durations[:, place])) - bias)
    return out


def _by_slope(blocks: Sequence[Block], bench: Bench) -> dict[str, list[float]]:
    """Seconds per kernel from plain runs of few and many copies, the gap taken off."""
    out: dict[str, list[float]] = {}
    for block in blocks:
        script, record = block.payload["script"], block.payload["record"]
        plain = _central(script, record)
        keys = {name.removesuffix("@many") for name in plain if name.endswith("@many")}
        if not keys:
            continue
        gap = (plain[LONG] - plain[SHORT]) / SPAN
        for key in keys & bench.singles.keys():
            slope = (plain[f"{key}@many"] - plain[f"{key}@few"]) / (MANY - FEW)
            out.setdefault(key, []).append(slope - gap)
    return out


def _central(script: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, float]:
    names = {
        session
        for step in script["steps"] if step["do"] == "time"
        for session in step["sessions"]
    }  # fmt: skip
    return {
        name: float(central_mean(np.concatenate(reading.slices_s(script, record, name))))
        for name in names
    }


def _model_of(workload: Workload, copies: int | None = None) -> Any:
    """The graph of a workload alone, or of several copies in a row."""
    from lwprof.profiler.graph import read

    model = (workload.to_model() if copies is None
             else workload.to_model(copies=copies, topology="chain"))  # fmt: skip
    return read(model, name=workload.key)


def _only_kernel(workload: Workload, graph: Any, answer: Prepared | LwprofError) -> str:
    """The name under which a lone kernel runs.

    Raises:
        LwprofError: the runtime refuses it, or makes something else of it.
    """
    if isinstance(answer, LwprofError):
        raise answer
    if answer.optimised is None:
        raise LwprofError("the runtime gave no optimised graph for this kernel alone")
    kernels = onnxruntime_kernels(graph, _parse(answer.optimised))
    nodes = [k.runtime_node for k in kernels if k.workload.key == workload.key]
    if len(nodes) != 1:
        raise LwprofError("alone, the runtime makes another kernel of it")
    return nodes[0]


def _parse(data: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(data)
