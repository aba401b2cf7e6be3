"""What a store holds, as plain frozen records. No database is needed to make or read one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lwprof.errors import StoreError, UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.store.codec import canonical_json, digest

ENVIRONMENTS = ("hardware", "virtual", "emulated", "synthetic")
SUBJECT_KINDS = ("model", "workload", "chain", "foreign")
ORIGINS = ("measured_here", "imported")
OVERHEAD = "runtime-overhead"
"""Subject of what a call, and the gap between two kernels, cost in a context."""


@dataclass(frozen=True, slots=True)
class Device:
    """One physical unit, known by its hardware id; name and board are what its owner calls it.

    Attributes:
        hardware_id: stable identity of the unit, part of every context.
        name: what the user calls it.
        board: type of machine, as in ``device_profiles/``.
        environment: one of ``ENVIRONMENTS``.
        facts: what the agent found out about it (JSON).
    """

    hardware_id: str
    name: str
    board: str
    environment: str = "hardware"
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """Where and how a number was obtained. Equal contexts have equal ``key``.

    Attributes:
        hardware_id: the device's identity.
        runtime: ``onnxruntime`` or ``tvm``.
        runtime_version: as the runtime says it.
        provider: execution provider that really ran, e.g. ``CPU``.
        threads: compute threads of one inference.
        precision: ``float32``, ``float16``, ``int8`` or ``as_in_file``.
        environment: one of ``ENVIRONMENTS``.
        affinity: CPUs the run was pinned to, None when it was not.
        batch: batch size when one was asked for, None when as in the file.
        power_mode: the board's power mode, None where it has none.
        options: anything else that changes the numbers (optimisation level, schedule …);
            JSON scalars only.
    """

    hardware_id: str
    runtime: str
    runtime_version: str
    provider: str
    threads: int
    precision: str = "as_in_file"
    environment: str = "hardware"
    affinity: tuple[int, ...] | None = None
    batch: int | None = None
    power_mode: str | None = None
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON; ``Context.from_json`` is the inverse."""
        return {
            "hardware_id": self.hardware_id,
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "provider": self.provider,
            "threads": self.threads,
            "precision": self.precision,
            "environment": self.environment,
            "affinity": None if self.affinity is None else list(self.affinity),
            "batch": self.batch,
            "power_mode": self.power_mode,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Context:
        """The context that ``to_json`` described.

        Raises:
            StoreError: a field is missing, unknown or of the wrong type.
        """
        try:
            affinity = data["affinity"]
            context = cls(
                **{**data, "affinity": None if affinity is None else tuple(affinity)},
            )
            _check_context(context)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"not a context: {error}") from None
        return context

    @property
    def key(self) -> str:
        """``c1:`` and the SHA-256 of the canonical JSON."""
        return f"c1:{digest(self.to_json())}"

    def describe(self) -> str:
        """One line for lists of contexts to choose from."""
        parts = [
            f"{self.runtime} {self.runtime_version}",
            self.provider,
            f"{self.threads} thread{'s' if self.threads != 1 else ''}",
            self.precision,
        ]
        if self.affinity is not None:
            parts.append("cpus " + ",".join(map(str, self.affinity)))
        if self.batch is not None:
            parts.append(f"batch {self.batch}")
        if self.power_mode is not None:
            parts.append(f"power mode {self.power_mode}")
        parts += [f"{name}={value}" for name, value in sorted(self.options.items())]
        if self.environment != "hardware":
            parts.append(self.environment)
        return ", ".join(parts)


def _check_context(context: Context) -> None:
    texts = (context.hardware_id, context.runtime, context.runtime_version, context.provider,
             context.precision, context.environment)  # fmt: skip
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("a name in it is empty or not text")
    if context.environment not in ENVIRONMENTS:
        raise ValueError(f"unknown environment {context.environment!r}")
    integers = [context.threads, *(context.affinity or ())]
    if context.batch is not None:
        integers.append(context.batch)
    if not all(type(number) is int and number >= 0 for number in integers):
        raise ValueError("threads, affinity and batch must be whole numbers")
    if context.power_mode is not None and not isinstance(context.power_mode, str):
        raise ValueError("power_mode must be text")
    if not isinstance(context.options, Mapping):
        raise TypeError("options must be a table")
    for name, value in context.options.items():
        if not isinstance(value, str | int | float | bool | None):
            raise TypeError(f"option {name!r} must be a plain value")


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured.

    Attributes:
        key: SHA-256 of a model file, ``w1:…`` of a workload, or any unique text of a chain.
        kind: one of ``SUBJECT_KINDS``.
        name: for people; two models of one key may have had different names.
        description: JSON that says what it is (a workload's canonical description …).
    """

    key: str
    kind: str
    name: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One command's worth of measuring; unfinished until ``finished_utc`` is set.

    Attributes:
        run_id: unique in the world.
        request_digest: what was asked for; an equal request resumes an unfinished run.
        kind: ``measure``, ``compare``, ``campaign``, ``import`` …
        context: key of the context, None when its blocks have several.
        started_utc: ISO 8601 with microseconds and ``Z``, so that text order is time order.
        lwprof_version: which lwprof measured.
        request: what was asked for, in full.
        finished_utc: as ``started_utc``; None while the run is unfinished.
    """

    run_id: str
    request_digest: str
    kind: str
    context: str | None
    started_utc: str
    lwprof_version: str
    request: Mapping[str, Any] = field(default_factory=dict)
    finished_utc: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One visit of a subject inside a fresh process, with its raw samples.

    Attributes:
        block_id: idempotency key; storing the same id again changes nothing.
        run_id: the run it belongs to.
        context: key of its context.
        subject: key of its subject.
        arm: how it was measured: ``end_to_end``, ``profiled``, ``isolated``, ``pair``, ``chain`` …
        sequence: place in the run's randomised order.
        started_utc: as in ``Run``; for display and order only, never for durations.
        boot_id: the device's boot, None where it tells none.
        flags: what the environment watch found, e.g. ``throttled``; empty means unflagged.
        n: timed iterations.
        log_median: mean over subjects is taken of this: log of the block's median in seconds.
        mean_s: mean over its central iterations in seconds.
        payload: raw samples and everything else the agent returned (JSON).
    """

    block_id: str
    run_id: str
    context: str
    subject: str
    arm: str
    sequence: int
    started_utc: str
    boot_id: str | None = None
    flags: tuple[str, ...] = ()
    n: int | None = None
    log_median: float | None = None
    mean_s: float | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number derived from blocks (or imported), with its interval; recomputed ones replace it.

    Attributes:
        run_id: the run whose blocks it was derived from.
        context: key of its context.
        subject: key of its subject.
        quantity: a field name in SI units: ``latency_s``, ``isolated_latency_s``, ``energy_j`` …
        value: the estimate; with ``at_most`` only the upper bound is known.
        low: lower end of the interval, None when nothing bounds it.
        high: upper end of the interval, None when nothing bounds it.
        origin: ``measured_here`` or ``imported``.
        derived_utc: when it was computed, as in ``Run``.
    """

    run_id: str
    context: str
    subject: str
    quantity: str
    value: float
    low: float | None
    high: float | None
    level: float = 0.95
    source: str = "measured"
    origin: str = "measured_here"
    n: int | None = None
    blocks: int | None = None
    at_most: bool = False
    derived_utc: str = ""

    @classmethod
    def of(
        cls,
        estimate: Estimate,
        *,
        run_id: str,
        context: str,
        subject: str,
        quantity: str,
        origin: str = "measured_here",
        derived_utc: str = "",
    ) -> Fact:
        """The fact that says what ``estimate`` says."""
        return cls(
            run_id, context, subject, quantity, estimate.value,
            estimate.low if math.isfinite(estimate.low) else None,
            estimate.high if math.isfinite(estimate.high) else None,
            estimate.level, estimate.source, origin, estimate.n, estimate.blocks,
            estimate.at_most, derived_utc,
        )  # fmt: skip

    def estimate(self) -> Estimate:
        """The number with its interval.

        Raises:
            StoreError: the stored interval does not contain the value.
        """
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        try:
            return Estimate(self.value, low, high, self.level, self.source,
                            self.blocks, self.n, self.at_most)  # fmt: skip
        except (UsageError, TypeError) as error:
            raise StoreError(
                f"the store's {self.quantity} of {self.subject} is not an estimate: {error}"
            ) from None


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        added: records taken over, by table.
        conflicts: one line for each record that differs under the same key; ours was kept.
    """

    added: Mapping[str, int]
    conflicts: tuple[str, ...]


def request_digest(request: Mapping[str, Any]) -> str:
    """SHA-256 of a request's canonical JSON; equal requests resume one another."""
    return digest(request)


__all__ = [
    "ENVIRONMENTS", "ORIGINS", "SUBJECT_KINDS",
    "Block", "Context", "Device", "Fact", "MergeReport", "Run", "Subject",
    "canonical_json", "request_digest",
]  # fmt: skip
