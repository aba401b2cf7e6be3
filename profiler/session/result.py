"""What a measurement returns: plain data, and its JSON form (``lwprof.measurement/1``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lwprof.profiler.session.energy_result import NONE, ModelEnergy
from lwprof.profiler.statistics import Estimate

SCHEMA = "lwprof.measurement/1"


@dataclass(frozen=True, slots=True)
class KernelResult:
    """One kernel of a model, as the runtime executed it.

    Attributes:
        workload: key of the work it does; equal work has equal keys in any model.
        operators: operator types fused into it.
        nodes: names of the original nodes it came from; empty for a layout change
            that the runtime inserted.
        count: executions per inference.
        macs, bytes: of one execution; None where they cannot be counted.
        latency_s: of one execution inside the model.
        isolated_latency_s: of one execution alone, inputs warm; None where it was not measured.
        provider: what really ran it.
        schedule: TVM only: which schedule was used.
        energy_j, energy_above_idle_j: of one execution, from loops of it alone; None where
            no sensor resolved it.
    """

    workload: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    count: int
    macs: int | None
    bytes: int | None
    latency_s: Estimate
    isolated_latency_s: Estimate | None = None
    provider: str = ""
    schedule: str | None = None
    energy_j: Estimate | None = None
    energy_above_idle_j: Estimate | None = None

    def joules(self) -> dict[str, Estimate]:
        """Its energies by name, as far as they were measured."""
        found = {"energy_j": self.energy_j, "energy_above_idle_j": self.energy_above_idle_j}
        return {name: estimate for name, estimate in found.items() if estimate is not None}

    def to_json(self) -> dict[str, Any]:
        """The contract's form of a kernel."""
        out: dict[str, Any] = {
            "workload": self.workload,
            "operators": list(self.operators),
            "nodes": list(self.nodes),
            "count": self.count,
            "macs": self.macs,
            "bytes": self.bytes,
            "latency_s": self.latency_s.to_json(),
            "isolated_latency_s": _json(self.isolated_latency_s),
            "energy_j": _json(self.energy_j),
            "provider": self.provider,
        }
        if self.energy_above_idle_j is not None:
            out["energy_above_idle_j"] = self.energy_above_idle_j.to_json()
        if self.schedule is not None:
            out["schedule"] = self.schedule
        return out


@dataclass(frozen=True, slots=True)
class Closure:
    """Σ kernels + gap against the end-to-end time, all from the same processes.

    ``error`` is (sum − end to end) / end to end.
    """

    sum_s: float
    end_to_end_s: float
    error: float

    def to_json(self) -> dict[str, float]:
        """The contract's form of a closure."""
        return {"sum_s": self.sum_s, "end_to_end_s": self.end_to_end_s, "error": self.error}


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Everything measured about one model on one device. SI units throughout.

    Attributes:
        arena_bytes: what the runtime plans for the activations; computed, so not in the JSON.
    """

    name: str
    sha256: str
    latency_s: Estimate
    latency_p95_s: Estimate | None
    latency_p99_s: Estimate | None
    load_s: Estimate
    first_inference_s: Estimate | None
    peak_memory_bytes: Estimate | None
    gap_s: Estimate | None
    closure: Closure | None
    verdict: str
    reason: str | None
    flags: tuple[str, ...]
    kernels: tuple[KernelResult, ...]
    macs: int | None
    params: int
    schedule: str | None = None
    arena_bytes: int | None = None
    sustained: Mapping[str, Any] | None = None
    blocks: Sequence[Mapping[str, Any]] = field(default_factory=tuple, repr=False)
    energy: ModelEnergy = NONE

    def with_energy(self, energy: ModelEnergy) -> ModelResult:
        """The same result with its energy, and that of its kernels."""
        kernels = []
        for kernel in self.kernels:
            found = energy.of_kernel(kernel.workload, kernel.latency_s)
            if found is not None:
                kernel = replace(kernel, energy_j=found[0], energy_above_idle_j=found[1])
            kernels.append(kernel)
        return replace(self, energy=energy, kernels=tuple(kernels))

    def to_json(self) -> dict[str, Any]:
        """The contract's form of a model's measurement."""
        out: dict[str, Any] = {
            "name": self.name,
            "sha256": self.sha256,
            "latency_s": self.latency_s.to_json(),
            "latency_p95_s": _json(self.latency_p95_s),
            "latency_p99_s": _json(self.latency_p99_s),
            "load_s": self.load_s.to_json(),
            "first_inference_s": _json(self.first_inference_s),
            # Where no sensor measured any joule these are null: absent is absent, never 0.
            **self.energy.to_json(),
            "peak_memory_bytes": _json(self.peak_memory_bytes),
            "gap_s": _json(self.gap_s),
            "closure": None if self.closure is None else self.closure.to_json(),
            "verdict": self.verdict,
            "reason": self.reason,
            "flags": list(self.flags),
            "macs": self.macs,
            "params": self.params,
            "kernels": [kernel.to_json() for kernel in self.kernels],
            "blocks": [dict(block) for block in self.blocks],
        }
        if self.schedule is not None:
            out["schedule"] = self.schedule
        if self.sustained is not None:
            out["sustained"] = dict(self.sustained)
        return out


@dataclass(frozen=True, slots=True)
class MeasurementResult:
    """Models (and, from a campaign, kernels alone) measured on one device in one context."""

    device: str
    context: Mapping[str, Any]
    started: str
    duration_s: float
    models: tuple[ModelResult, ...]
    workloads: Mapping[str, Any]
    kernels: tuple[KernelResult, ...] = ()
    run_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """``lwprof.measurement/1``."""
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "device": self.device,
            "context": dict(self.context),
            "started": self.started,
            "duration_s": self.duration_s,
            "run": self.run_id,
            "models": [model.to_json() for model in self.models],
            "workloads": dict(self.workloads),
        }
        if self.kernels:
            out["kernels"] = [kernel.to_json() for kernel in self.kernels]
        return out

    def __repr__(self) -> str:
        from lwprof.units import format_quantity

        rows = ", ".join(
            f"{m.name} {format_quantity(m.latency_s.value, 's')} ({m.verdict})" for m in self.models
        )
        return f"MeasurementResult({self.device}: {rows or f'{len(self.kernels)} kernels'})"


def _json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_json()
