"""What an audit found: one line per transform, and the chain that meets a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lwprof.compression.audit.candidates import Candidate
from lwprof.compression.audit.rounds import Outcome
from lwprof.profiler.graph import Graph
from lwprof.profiler.statistics import Estimate

SCHEMA = "lwprof.audit/1"
MAX_ERROR = 0.1
"""Relative error of the outputs beyond which a transform is not recommended."""


@dataclass(frozen=True, slots=True)
class Line:
    """One transform in an audit.

    Attributes:
        predicted: expected latency by the cost model; None where there is none.
        outcome: what was measured; None where nothing was.
        max_error: relative error of the outputs that a recommendation may have.
    """

    candidate: Candidate
    predicted: Estimate | None = None
    outcome: Outcome | None = None
    max_error: float = MAX_ERROR

    @property
    def verdict(self) -> str | None:
        """faster, slower, same, undecided; None where it was not measured."""
        return None if self.outcome is None else self.outcome.verdict

    @property
    def proven_faster(self) -> bool:
        """By rounds that count: what runs in them is what the technique would run."""
        done, outcome = self.candidate.transformed, self.outcome
        return (
            done is not None
            and not done.simulated
            and outcome is not None
            and (outcome.verdict == "faster" and outcome.corrected.high < 1)
        )

    @property
    def reservation(self) -> str | None:
        """Why a faster model cannot be used as it is: ``training`` or ``error``; else None."""
        done, error = self.candidate.transformed, self.candidate.output_error
        if done is None or done.equivalence == "substituted":
            return "training"
        return "error" if error is None or not error <= self.max_error else None

    @property
    def recommended(self) -> bool:
        """Proven faster, and of use as it is: no training, outputs within ``max_error``."""
        return self.proven_faster and self.reservation is None

    def to_json(self) -> dict[str, Any]:
        """One entry of ``transforms``."""
        candidate, outcome = self.candidate, self.outcome
        done, graph, transform = candidate.transformed, candidate.graph, candidate.transform
        out: dict[str, Any] = {
            "id": transform.id, "technique": transform.technique, "row": transform.row,
            "applied": candidate.applied, "reason": candidate.reason,
            "equivalence": transform.equivalence, "equivalent": transform.equivalence == "equal",
            "changed": len(done.changed) if done else 0,
            "refused": _reasons(done.refused) if done else {},
            "simulated": done.simulated if done else False,
            "notes": list(done.notes) if done else [],
            "layer_error": done.error if done and candidate.applied else None,
        }  # fmt: skip
        out |= facts(graph, done.size_bytes if done else None,
                     done.peak_memory_bytes if done else None)  # fmt: skip
        out |= {
            "predicted_latency_s": self.predicted and self.predicted.to_json(),
            "latency_s": outcome and outcome.latency_s.to_json(),
            "energy_j": None,
            "ratio": outcome and outcome.ratio.to_json(),
            "corrected_ratio": outcome and outcome.corrected.to_json(),
            "p_value": outcome and outcome.p_value,
            "verdict": self.verdict,
            "recommended": self.recommended,
            "reservation": self.reservation if self.proven_faster else None,
            "output_error": candidate.output_error,
        }
        return out


def facts(
    graph: Graph | None, size_bytes: int | None = None, peak_memory_bytes: int | None = None
) -> dict[str, Any]:
    """Counted figures of a model; None where there is no model."""
    if graph is None:
        return dict.fromkeys(("macs", "params", "size_bytes", "peak_memory_bytes"))
    return {
        "macs": graph.macs,
        "params": graph.params,
        "size_bytes": graph.size_bytes if size_bytes is None else size_bytes,
        "peak_memory_bytes":
            graph.peak_memory_bytes if peak_memory_bytes is None else peak_memory_bytes,
    }  # fmt: skip


def _reasons(refused: Mapping[str, str]) -> dict[str, int]:
    """How many operators were left alone for which reason."""
    counts: dict[str, int] = {}
    for text in refused.values():
        counts[text] = counts.get(text, 0) + 1
    return counts


@dataclass(frozen=True, slots=True)
class Chain:
    """Transforms one after the other that bring a model under a limit.

    Attributes:
        steps: transform ids in the order of application.
        limit_s: what was asked for.
        predicted: expected latency after all steps.
        latency_s: measured; None where it was not.
        meets: whether the limit is met: by the interval's upper end where measured, else by
            the prediction; None where neither is known.
        output_error: of the chain's outputs on the audit's data.
        model: the final ``ModelProto``.
    """

    steps: tuple[str, ...]
    limit_s: float
    predicted: Estimate | None
    latency_s: Estimate | None
    meets: bool | None
    output_error: float | None
    model: Any = field(repr=False, default=None)

    def to_json(self) -> dict[str, Any]:
        """The field ``chain``."""
        return {
            "steps": list(self.steps),
            "limit_s": self.limit_s,
            "predicted_latency_s": self.predicted and self.predicted.to_json(),
            "latency_s": self.latency_s and self.latency_s.to_json(),
            "meets": self.meets,
            "output_error": self.output_error,
        }


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What ``lwprof audit`` found.

    Attributes:
        lines: in the survey's order, refused transforms included.
        baseline_latency_s: of the original, measured in the same rounds.
        baseline_predicted: by the cost model.
        rounds: fresh processes behind the measured numbers.
        flags: what disturbed them.
        data: "calibration" or "random": where output errors are from.
        pricing: why there are no predictions; None where there are.
    """

    device: str
    context: Mapping[str, Any]
    graph: Graph
    lines: tuple[Line, ...]
    baseline_latency_s: Estimate | None
    baseline_predicted: Estimate | None
    rounds: int
    flags: tuple[str, ...]
    data: str
    pricing: str | None
    duration_s: float
    chain: Chain | None = None

    def line(self, id: str) -> Line:
        """The line of a transform."""
        return next(line for line in self.lines if line.candidate.id == id)

    def to_json(self) -> dict[str, Any]:
        """``lwprof.audit/1``."""
        baseline = self.baseline_latency_s
        return {
            "schema": SCHEMA,
            "device": self.device,
            "context": dict(self.context),
            "model": {"name": self.graph.name, "sha256": self.graph.sha256},
            "baseline": {
                **facts(self.graph),
                "latency_s": baseline and baseline.to_json(),
                "predicted_latency_s": self.baseline_predicted
                and self.baseline_predicted.to_json(),
                "energy_j": None,
            },
            "transforms": [line.to_json() for line in self.lines],
            "chain": self.chain and self.chain.to_json(),
            "rounds": self.rounds,
            "flags": list(self.flags),
            "data": self.data,
            "max_output_error": max((line.max_error for line in self.lines), default=MAX_ERROR),
            "pricing": self.pricing,
            "duration_s": self.duration_s,
        }
