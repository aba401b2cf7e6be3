"""The exact lookup table as a cost model: a model costs the sum of its kernels and the gap."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.known_graphs import GraphFacts, KernelName, KnownGraph, KnownGraphs
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import OVERHEAD, Context

if TYPE_CHECKING:
    from lwprof.predictors.block_table import BlockTable
    from lwprof.predictors.channel_table import ChannelStructure, ChannelTable
    from lwprof.predictors.space import Space
    from lwprof.profiler.graph import Graph
    from lwprof.profiler.session.kernels import HostRuntime
    from lwprof.profiler.store import Store

QUANTITIES = ("latency_s", "peak_memory_bytes")
SCHEMA = "lwprof.prediction/1"
SOURCES = ("measured", "interpolated", "predicted", "extrapolated")
"""Where a kernel's cost can come from, the most trusted first."""


@dataclass(frozen=True, slots=True)
class KernelCost:
    """One kernel of a predicted model and what the table says about it.

    Attributes:
        origin: ``measured_here`` or ``imported``: of its number, or of those it was made from.
    """

    workload: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    latency_s: Estimate
    origin: str = "measured_here"


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the table says about one model. Peak memory is computed: the runtime's own plan for the
    activations where it was asked, else their peak by liveness."""

    graph: GraphFacts
    latency_s: Estimate
    gap_s: Estimate
    kernels: tuple[KernelCost, ...]
    gap_origin: str = "measured_here"

    @property
    def origin(self) -> str:
        """``imported`` where any part of it is."""
        parts = {self.gap_origin, *(kernel.origin for kernel in self.kernels)}
        return "imported" if "imported" in parts else "measured_here"

    @property
    def sources(self) -> dict[str, int]:
        """How many kernels came from where."""
        found = [kernel.latency_s.source for kernel in self.kernels]
        return {source: found.count(source) for source in SOURCES}

    def to_json(self) -> dict[str, Any]:
        """One entry of ``lwprof.prediction/1``."""
        graph = self.graph
        return {
            "name": graph.name,
            "sha256": graph.sha256,
            "latency_s": self.latency_s.to_json(),
            "energy_j": None,
            "gap_s": self.gap_s.to_json(),
            "peak_memory_bytes": _computed(graph.peak_memory_bytes),
            "size_bytes": graph.size_bytes,
            "macs": graph.macs,
            "params": graph.params,
            "kernels": [
                {"workload": k.workload, "operators": list(k.operators), "nodes": list(k.nodes),
                 "count": 1, "latency_s": k.latency_s.to_json(), "energy_j": None,
                 "origin": k.origin}
                for k in self.kernels
            ],
            "sources": self.sources,
            "origin": self.origin,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of several models.

    Attributes:
        mean, low, high: shape (models, quantities); SI units; NaN where unknown.
        source: same shape, of text.
        origin: same shape, of text: ``measured_here`` or ``imported``.
        quantities: names of the columns.
    """

    device: str
    context: Context
    models: tuple[ModelCost, ...]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    source: NDArray[np.str_]
    origin: NDArray[np.str_]
    quantities: tuple[str, ...] = QUANTITIES

    def to_json(self) -> dict[str, Any]:
        """``lwprof.prediction/1``."""
        return {
            "schema": SCHEMA,
            "device": self.device,
            "context": {**self.context.to_json(), "key": self.context.key},
            "models": [model.to_json() for model in self.models],
        }


class LookupCostModel:
    """Answers from one context's table, exactly or not at all.

    Args:
        device: the device's name, for messages.
        store: an open store.
        context: the context whose numbers answer.
        folder: where to keep what is known of graphs; None keeps it in memory.

    Attributes:
        structure: finds a model's channels, for ``channels``; ``lwprof.cost_model`` sets it,
            since finding them is the business of compression, which builds on this room.
    """

    quantities = QUANTITIES

    def __init__(
        self, device: str, store: Store, context: Context, folder: Path | None = None
    ) -> None:
        self.structure: Callable[[Any], ChannelStructure] | None = None
        self.device = device
        self.context = context
        self._store = store
        self._known = KnownGraphs(context.batch, context.runtime, folder)
        self._host: HostRuntime | None = None

    def predict(self, models: Any) -> Costs:
        """Latency and peak memory of models, each the sum over its kernels and the gap.

        Raises:
            CostMiss: a kernel is not in the table; it is named.
            ModelError: a model cannot be read.
        """
        single = isinstance(models, str | bytes) or not isinstance(models, Sequence)
        costs = tuple(self._cost(model) for model in ([models] if single else models))
        latency = [cost.latency_s for cost in costs]
        memory = [_float(cost.graph.peak_memory_bytes) for cost in costs]
        return Costs(
            self.device, self.context, costs,
            mean=np.array([[e.value, m] for e, m in zip(latency, memory, strict=True)]),
            low=np.array([[e.low, m] for e, m in zip(latency, memory, strict=True)]),
            high=np.array([[e.high, m] for e, m in zip(latency, memory, strict=True)]),
            source=np.array([[e.source, "computed"] for e in latency]),
            origin=np.array([[cost.origin, "measured_here"] for cost in costs]),
        )  # fmt: skip

    def quantile(self, models: Any, level: float) -> NDArray[np.float64]:
        """Upper bounds for chance constraints, shape (models, quantities).

        The cost lies below its bound with probability ``level``: the interval's upper half,
        stretched as that of a normal distribution would be.

        Raises:
            UsageError: the level does not lie between 0.5 and 1.
        """
        if not 0.5 <= level < 1:
            raise UsageError(f"a quantile's level lies between 0.5 and 1, not {level}")
        costs = self.predict(models)
        normal = NormalDist()
        stretch = normal.inv_cdf(level) / normal.inv_cdf(0.975)
        return np.asarray(costs.mean + (costs.high - costs.mean) * stretch, dtype=np.float64)

    def explain(self, model: Any) -> ModelCost:
        """Costs per kernel; they and the gap sum to what ``predict`` says."""
        return self._cost(model)

    def table(self, space: Space) -> BlockTable:
        """Costs of every choice of every block of a space, source ``additive``.

        Raises:
            CostMiss: a kernel of one of the space's networks is not in the table.
            UsageError: the space cannot build networks.
        """
        from lwprof.predictors.tabulate import tabulate

        return tabulate(self, space)

    def channels(self, model: Any) -> ChannelTable:
        """Costs of a model as a function of how many channels each group of layers keeps.

        Args:
            model: a model, or its channels (a ``ChannelStructure``).

        Raises:
            CostMiss: a kernel of one of the smaller networks is not in the table.
            UsageError: no channel can be removed, or nobody said how channels are found.
        """
        from lwprof.predictors.channel_table import ChannelTable

        if hasattr(model, "resize"):
            return ChannelTable.build(self, model)
        if self.structure is None:
            raise UsageError("this cost model does not know how to find channels: open it with "
                             "lwprof.cost_model, or pass the channels found")  # fmt: skip
        return ChannelTable.build(self, self.structure(model))

    def _cost(self, model: Any) -> ModelCost:
        graph, kernels = self._resolve(model)
        found = self._store.lookup([kernel.key for kernel in kernels], self.context.key)
        known: dict[str, Estimate] = {}
        origins: dict[str, str] = {}
        missing: dict[str, KernelName] = {}
        for kernel in kernels:
            facts = found.get(kernel.key, {})
            # In the network's company first: alone, a kernel finds its inputs warm.
            fact = facts.get("latency_s") or facts.get("isolated_latency_s")
            if fact is None:
                missing[kernel.key] = kernel
            elif kernel.key not in known:
                known[kernel.key] = fact.estimate()
                origins[kernel.key] = fact.origin
        if missing:
            known |= self._estimate(graph.name, tuple(missing.values()))
        gap, origin = self._gap(len(kernels), graph.name)
        # What was predicted comes from the rest of the table, whose gap is its like.
        costs = tuple(
            KernelCost(k.key, k.operators, k.nodes, known[k.key], origins.get(k.key, origin))
            for k in kernels
        )
        total = _sum([*(c.latency_s for c in costs), gap])
        return ModelCost(graph, total, gap, costs, origin)

    def _estimate(self, model: str, missing: Sequence[KernelName]) -> dict[str, Estimate]:
        """What to say of kernels that the table lacks: here, that it lacks them."""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CostMiss(
            f"{model}: the table of {self.device!r} lacks {'+'.join(missing[0].operators)} "
            f"({missing[0].key[:14]}…){more}: run lwprof measure {model} --device "
            f"{self.device}, or lwprof fit --device {self.device} to have it predicted",
            tuple(kernel.key for kernel in missing),
        )

    def _resolve(self, model: Any) -> tuple[GraphFacts, Sequence[KernelName]]:
        """What a model is, and its kernels: of the store, or as the runtime on this host says."""
        known, graph = self._known.find(model), None
        if known is None:
            graph = self._read(model)
            known = self._known.read_as(graph.sha256) or KnownGraph(GraphFacts.of(graph))
            self._known.note(model, known)
        facts = known.facts
        stored = self._store.kernels(facts.sha256, self.context.key)
        if stored is not None:
            if stored.get("arena_bytes") is not None:
                facts = replace(facts, peak_memory_bytes=stored["arena_bytes"])
            return facts, [
                KernelName(k["workload"], tuple(k["operators"]), tuple(k["nodes"]))
                for k in stored["kernels"]
            ]
        if self.device != "host":
            raise CostMiss(
                f"{facts.name}: which kernels the runtime on {self.device!r} makes of it is "
                f"unknown: run lwprof measure {facts.name} --device {self.device}"
            )
        if known.kernels is None:
            known = self._ask(graph if graph is not None else self._read(model))
            self._known.note(model, known)
        return known.facts, known.kernels or ()

    def _read(self, model: Any) -> Graph:
        from lwprof.profiler.graph import read  # a graph that was read before needs no onnx

        return read(model, batch=self.context.batch)

    def _ask(self, graph: Graph) -> KnownGraph:
        """What the runtime on this host makes of a graph; its agent stays up for the next one."""
        if self._host is None:
            from lwprof.profiler.session.kernels import HostRuntime

            self._host = HostRuntime(self.context.runtime)
            weakref.finalize(self, self._host.close)
        made = self._host.prepare(graph)
        facts = GraphFacts.of(graph)
        if made.arena_bytes is not None:
            facts = replace(facts, peak_memory_bytes=made.arena_bytes)
        kernels = (
            KernelName(k.workload.key, tuple(k.operators), tuple(k.nodes), k.workload.description)
            for k in made.kernels
        )
        return KnownGraph(facts, tuple(kernels))

    def _gap(self, kernels: int, model: str) -> tuple[Estimate, str]:
        """What a network of so many kernels costs besides them, and its origin."""
        facts = self._store.lookup([OVERHEAD], self.context.key).get(OVERHEAD, {})
        if "call_s" not in facts or "gap_s" not in facts:
            raise CostMiss(
                f"{model}: the gap between kernels was never measured on {self.device!r}: "
                f"run lwprof measure {model} --device {self.device}"
            )
        gap = _sum([facts["call_s"].estimate(), facts["gap_s"].estimate().scaled(kernels)])
        return gap, facts["gap_s"].origin


def _sum(parts: Sequence[Estimate]) -> Estimate:
    """The sum of estimates from one session: their errors share the machine's state, so the
    half-widths add up rather than their squares. A part known only as "at most" counts by half
    its bound, from nothing to all of it."""
    value = low = high = 0.0
    for part in parts:
        value += part.value / 2 if part.at_most else part.value
        low += max(0.0, part.low)
        high += part.high
    # A sum is worth what the least trusted of its parts is.
    source = max((part.source for part in parts), key=SOURCES.index)
    return Estimate(value, min(low, value), max(high, value), source=source)


def _float(value: int | None) -> float:
    return math.nan if value is None else float(value)


def _computed(value: int | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return Estimate(float(value), float(value), float(value), source="computed").to_json()
