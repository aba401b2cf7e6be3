"""What pruning returns: the path from the whole network to the budget, predicted and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lwprof.profiler.statistics import Estimate

SCHEMA = "lwprof.prune/1"


@dataclass(frozen=True, slots=True)
class PruningStep:
    """One network on the way.

    Attributes:
        widths: kept channels by group.
        predicted: the budget's quantity by the cost model, SI units.
        measured: the same on the device; None where it was not measured.
        accuracy: what the caller's evaluation said; None without one.
        output_error: relative error of the outputs on the calibration data.
    """

    widths: Mapping[str, int]
    predicted: float
    measured: Estimate | None
    accuracy: float | None
    output_error: float
    macs: int | None
    params: int
    size_bytes: int
    peak_memory_bytes: int | None
    model: Any = field(repr=False, compare=False, default=None)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``steps``."""
        return {
            "widths": dict(self.widths), "predicted": self.predicted,
            "measured": None if self.measured is None else self.measured.to_json(),
            "accuracy": self.accuracy, "output_error": self.output_error, "macs": self.macs,
            "params": self.params, "size_bytes": self.size_bytes,
            "peak_memory_bytes": self.peak_memory_bytes,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PruningResult:
    """The outcome of one pruning.

    Attributes:
        quantity: ``latency_s``, ``energy_j`` or ``peak_memory_bytes``; ``limit`` in its unit.
        feasible: whether a network within the limit was found (measured, where it was).
        minimum: the smallest value that can be reached, where the limit is infeasible.
        before, after: the whole network and the chosen one; None where infeasible.
        steps: in the order they were tried.
        refused: node → why its channels were left alone.
    """

    name: str
    device: str
    quantity: str
    limit: float
    feasible: bool
    minimum: float | None
    before: PruningStep
    after: PruningStep | None
    steps: tuple[PruningStep, ...]
    saliency: str
    selector: str
    priced_by: str
    refused: Mapping[str, str]
    model_path: str | None = None

    @property
    def model(self) -> Any | None:
        """The pruned ``onnx.ModelProto``; None where the limit is infeasible."""
        return None if self.after is None else self.after.model

    def to_json(self) -> dict[str, Any]:
        """``lwprof.prune/1``."""
        return {
            "schema": SCHEMA, "name": self.name, "device": self.device,
            "budget": {"quantity": self.quantity, "limit": self.limit},
            "feasible": self.feasible, "minimum": self.minimum, "saliency": self.saliency,
            "selector": self.selector, "priced_by": self.priced_by,
            "before": self.before.to_json(),
            "after": None if self.after is None else self.after.to_json(),
            "steps": [step.to_json() for step in self.steps],
            "refused": dict(self.refused), "model_path": self.model_path,
        }  # fmt: skip
