"""The exact lookup table as a cost model: a model costs the sum of its kernels and the gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.device_profiles import find_device
from lwprof.errors import CostMiss, UsageError
from lwprof.profiler.graph import Graph, read
from lwprof.profiler.session.measure import OVERHEAD
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import Context, Store, open_store

QUANTITIES = ("latency_s", "peak_memory_bytes")
SCHEMA = "lwprof.prediction/1"


@dataclass(frozen=True, slots=True)
class KernelCost:
    """One kernel of a predicted model and what the table says about it."""

    workload: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    latency_s: Estimate


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the table says about one model. Peak memory is by liveness (source ``computed``)."""

    graph: Graph
    latency_s: Estimate
    gap_s: Estimate
    kernels: tuple[KernelCost, ...]

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
                 "count": 1, "latency_s": k.latency_s.to_json(), "energy_j": None}
                for k in self.kernels
            ],
            "sources": {"measured": len(self.kernels), "interpolated": 0, "predicted": 0,
                        "extrapolated": 0},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of several models.

    Attributes:
        mean, low, high: shape (models, quantities); SI units; NaN where unknown.
        source: same shape, of text.
        quantities: names of the columns.
    """

    device: str
    context: Context
    models: tuple[ModelCost, ...]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    source: NDArray[np.str_]
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
    """

    quantities = QUANTITIES

    def __init__(self, device: str, store: Store, context: Context) -> None:
        self.device = device
        self.context = context
        self._store = store

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
            source=np.array([["measured", "computed"] for _ in costs]),
        )  # fmt: skip

    def explain(self, model: Any) -> ModelCost:
        """Costs per kernel; they and the gap sum to what ``predict`` says."""
        return self._cost(model)

    def _cost(self, model: Any) -> ModelCost:
        graph = read(model, batch=self.context.batch)
        kernels = self._kernels(graph)
        found = self._store.lookup([key for key, _, _ in kernels], self.context.key)
        missing = {}
        costs = []
        for key, operators, nodes in kernels:
            facts = found.get(key, {})
            # In the network's company first: alone, a kernel finds its inputs warm.
            fact = facts.get("latency_s") or facts.get("isolated_latency_s")
            if fact is None:
                missing[key] = "+".join(operators)
                continue
            costs.append(KernelCost(key, operators, nodes, fact.estimate()))
        if missing:
            key, what = next(iter(missing.items()))
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise CostMiss(
                f"{graph.name}: the table of {self.device!r} lacks {what} ({key[:14]}…){more}: "
                f"run lwprof measure {graph.name} --device {self.device}",
                tuple(missing),
            )
        gap = self._gap(len(costs), graph)
        return ModelCost(graph, _sum([*(c.latency_s for c in costs), gap]), gap, tuple(costs))

    def _kernels(self, graph: Graph) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        stored = self._store.kernels(graph.sha256, self.context.key)
        if stored is not None:
            return [(k["workload"], tuple(k["operators"]), tuple(k["nodes"]))
                    for k in stored["kernels"]]  # fmt: skip
        if self.device != "host":
            raise CostMiss(
                f"{graph.name}: which kernels the runtime on {self.device!r} makes of it is "
                f"unknown: run lwprof measure {graph.name} --device {self.device}"
            )
        from lwprof.profiler.session.kernels import kernels_on_host

        return [(k.workload.key, tuple(k.operators), tuple(k.nodes))
                for k in kernels_on_host(graph, self.context.runtime)]  # fmt: skip

    def _gap(self, kernels: int, graph: Graph) -> Estimate:
        facts = self._store.lookup([OVERHEAD], self.context.key).get(OVERHEAD, {})
        if "call_s" not in facts or "gap_s" not in facts:
            raise CostMiss(
                f"{graph.name}: the gap between kernels was never measured on {self.device!r}: "
                f"run lwprof measure {graph.name} --device {self.device}"
            )
        return _sum([facts["call_s"].estimate(), facts["gap_s"].estimate().scaled(kernels)])


def open_lookup(device: str, choice: Mapping[str, Any], store: str | None) -> LookupCostModel:
    """The lookup table of a device in the one context that matches ``choice``.

    Raises:
        UsageError: none matches, or several do; they are listed.
    """
    find_device(device)
    database = open_store(store)
    contexts = [c for c in database.contexts(device=device) if _matches(c, choice)]
    useful = [c for c in contexts if database.facts(context=c.key)]
    if len(useful) == 1:
        return LookupCostModel(device, database, useful[0])
    if not useful:
        asked = ", ".join(f"{k}={v}" for k, v in choice.items())
        raise UsageError(
            f"nothing was measured on {device!r}{f' with {asked}' if asked else ''}: "
            f"run lwprof measure MODEL --device {device}"
        )
    listed = "; ".join(c.describe() for c in useful)
    raise UsageError(
        f"{len(useful)} contexts of {device!r} match, choose one with --runtime, --threads, "
        f"--provider or --precision: {listed}"
    )


def _matches(context: Context, choice: Mapping[str, Any]) -> bool:
    return all(getattr(context, name) == value for name, value in choice.items())


def _sum(parts: Sequence[Estimate]) -> Estimate:
    """The sum of estimates from one session: their errors share the machine's state, so the
    half-widths add up rather than their squares. A part known only as "at most" counts by half
    its bound, from nothing to all of it."""
    value = low = high = 0.0
    for part in parts:
        value += part.value / 2 if part.at_most else part.value
        low += max(0.0, part.low)
        high += part.high
    return Estimate(value, min(low, value), max(high, value), source="measured")


def _float(value: int | None) -> float:
    return math.nan if value is None else float(value)


def _computed(value: int | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return Estimate(float(value), float(value), float(value), source="computed").to_json()
