"""Results read back from a store, in the form of their JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lwprof.errors import UsageError

if TYPE_CHECKING:
    from lwprof.profiler.store import Context, Store

_SERIES = 6
_LEAST_WIDTHS = 4
_QUANTITIES = ("latency_s", "latency_p95_s", "latency_p99_s", "energy_j", "energy_above_idle_j",
               "power_w", "peak_memory_bytes", "gap_s", "load_s", "first_inference_s")  # fmt: skip


def context_of(store: Store, device: str, choice: Mapping[str, Any]) -> Context:
    """The only context of a device that matches.

    Args:
        choice: runtime, provider, threads, precision, power_mode; None leaves one open.

    Raises:
        UsageError: none or several match; it lists them.
    """
    wanted = {name: value for name, value in choice.items() if value is not None}
    every = store.contexts(device)
    found = [c for c in every if all(getattr(c, name) == v for name, v in wanted.items())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"nothing is stored of {device!r} in such a context: lwprof measure --device {device}"
        )
    listed = "; ".join(context.describe() for context in found)
    raise UsageError(
        f"{len(found)} contexts of {device!r} match, choose with --threads …: {listed}"
    )


def measurement_of(store: Store, model: str, device: str, context: Context) -> dict[str, Any]:
    """A model's latest numbers as a ``lwprof.measurement/1``, without raw block values.

    Args:
        model: its name, or the beginning of its SHA-256 (8 characters or more).

    Raises:
        UsageError: the store has no such model in this context.
    """
    known = store.subjects(kind="model", context=context.key)
    found = [s for s in known if s.name == model or (len(model) >= 8 and s.key.startswith(model))]
    if not found:
        names = ", ".join(sorted({s.name for s in known})[:20]) or "none"
        raise UsageError(f"the store has no measurement of {model!r} on {device!r}; it has {names}")
    numbers = store.lookup([s.key for s in found], context.key)
    subject = next((s for s in found if "latency_s" in numbers.get(s.key, {})), None)
    if subject is None:
        raise UsageError(f"{model!r} was not measured to the end: lwprof measure {model} resumes")
    own = numbers[subject.key]
    run = store.run(own["latency_s"].run_id)
    kernels = store.kernels(subject.key, context.key) or {}
    stored: dict[str, Any] = {name: own[name].estimate().to_json() if name in own else None
                              for name in _QUANTITIES}  # fmt: skip
    flags = sorted({f for b in store.blocks(run=own["latency_s"].run_id, subject=subject.key)
                    for f in b.flags})  # fmt: skip
    return {
        "schema": "lwprof.measurement/1", "device": device,
        "context": {**context.to_json(), "board": _board(store, context)},
        "started": run.started_utc if run else None, "duration_s": None,
        "run": own["latency_s"].run_id,
        "models": [{
            "name": subject.name, "sha256": subject.key, **stored, "closure": None,
            "verdict": "ok" if not flags else "unfit",
            "reason": "some processes were flagged" if flags else None, "flags": flags,
            "macs": None, "params": None,
            "kernels": kernels.get("kernels", []), "blocks": [],
        }],
        "workloads": {},
    }  # fmt: skip


def _board(store: Store, context: Context) -> str | None:
    for device in store.devices():
        if device.hardware_id == context.hardware_id:
            return device.board
    return None


def device_of(
    store: Store, device: str, context: Context, fit: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a store knows of a device in a context: ``lwprof.device/1``, read by ``device.page_of``.

    Args:
        fit: the ``lwprof.fit/1`` of this context, None without one.
    """
    workloads = _workloads(store, context.key)
    unit = next((d for d in store.devices() if d.hardware_id == context.hardware_id), None)
    return {
        "schema": "lwprof.device/1", "device": device,
        "context": {**context.to_json(), "board": unit.board if unit else None,
                    "facts": dict(unit.facts) if unit else {}},
        "coverage": _coverage(workloads), "models": _models(store, context.key),
        "staircases": _staircases(workloads), "health": _health(store, context.key),
        "fit": fit,
    }  # fmt: skip


def _workloads(store: Store, context: str) -> list[tuple[Mapping[str, Any], float, float, float]]:
    """Description, value, low and high of every kernel with a latency, in context or alone."""
    from sqlalchemy import select

    from lwprof.profiler.store import schema

    facts, subjects = schema.facts, schema.subjects
    query = (
        select(subjects.c.key, subjects.c.description, facts.c.quantity, facts.c.value,
               facts.c.low, facts.c.high)
        .join(subjects, subjects.c.key == facts.c.subject)
        .where(facts.c.context == context, subjects.c.kind == "workload",
               facts.c.quantity.in_(("latency_s", "isolated_latency_s")))
    )  # fmt: skip
    found: dict[str, Any] = {}
    for row in store.all(query):
        if row["quantity"] == "latency_s" or row["key"] not in found:
            found[row["key"]] = row
    return [
        (json.loads(row["description"]), row["value"],
         -math.inf if row["low"] is None else row["low"],
         math.inf if row["high"] is None else row["high"])
        for row in found.values()
    ]  # fmt: skip


def _coverage(
    workloads: Sequence[tuple[Mapping[str, Any], float, float, float]],
) -> list[dict[str, Any]]:
    families: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    for description, value, low, high in workloads:
        name = "+".join(str(op) for op in description.get("op_types", ()))
        families.setdefault(name, []).append(value)
        if value > 0 and math.isfinite(high - low):
            widths.setdefault(name, []).append((high - low) / 2 / value)
    return [
        {"operators": name, "kernels": len(values), "fastest_s": min(values),
         "slowest_s": max(values), "total_s": sum(values),
         "median_half_width": _median(widths.get(name, []))}
        for name, values in sorted(families.items(), key=lambda pair: -sum(pair[1]))
    ]  # fmt: skip


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _staircases(
    workloads: Sequence[tuple[Mapping[str, Any], float, float, float]],
) -> list[dict[str, Any]]:
    """Kernels that differ in nothing but their output channels, the longest series first."""
    series: dict[str, dict[int, float]] = {}
    for description, value, _, _ in workloads:
        inputs, outputs = description.get("inputs") or [], description.get("outputs") or []
        if not inputs or not outputs or len(outputs[0].get("shape") or ()) != 4:
            continue
        attributes = (description.get("attributes") or [{}])[0]
        data, channels = inputs[0].get("shape"), outputs[0]["shape"][1]
        if not isinstance(channels, int) or attributes.get("group", 1) != 1:
            continue
        name = (f"{'+'.join(map(str, description['op_types']))} {data} "
                f"{attributes.get('kernel_shape', '')} {attributes.get('strides', '')}")  # fmt: skip
        series.setdefault(name, {})[channels] = value
    long = sorted((pair for pair in series.items() if len(pair[1]) >= _LEAST_WIDTHS),
                  key=lambda pair: -len(pair[1]))[:_SERIES]  # fmt: skip
    return [{"name": name, "channels": sorted(steps), "latency_s": [steps[c] for c in sorted(steps)]}
            for name, steps in long]  # fmt: skip


def _models(store: Store, context: str) -> list[dict[str, Any]]:
    """Every run's latency of every model, in time order."""
    from sqlalchemy import select

    from lwprof.profiler.store import schema

    facts, subjects, runs = schema.facts, schema.subjects, schema.runs
    query = (
        select(subjects.c.name, runs.c.started_utc, facts.c.value, facts.c.low, facts.c.high,
               facts.c.level, facts.c.source)
        .join(subjects, subjects.c.key == facts.c.subject)
        .join(runs, runs.c.run_id == facts.c.run_id)
        .where(facts.c.context == context, subjects.c.kind == "model",
               facts.c.quantity == "latency_s")
        .order_by(runs.c.started_utc)
    )  # fmt: skip
    return [
        {"name": row["name"], "started": row["started_utc"],
         "latency_s": {name: row[name] for name in ("value", "low", "high", "level", "source")}}
        for row in store.all(query)
    ]  # fmt: skip


def _health(store: Store, context: str) -> list[dict[str, Any]]:
    """Blocks and flags of each run, in time order."""
    from sqlalchemy import func, select

    from lwprof.profiler.store import schema

    blocks, runs = schema.blocks, schema.runs
    query = (
        select(runs.c.run_id, runs.c.started_utc, runs.c.kind, blocks.c.flags,
               func.count().label("blocks"))
        .join(runs, runs.c.run_id == blocks.c.run_id)
        .where(blocks.c.context == context)
        .group_by(runs.c.run_id, runs.c.started_utc, runs.c.kind, blocks.c.flags)
        .order_by(runs.c.started_utc)
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for row in store.all(query):
        entry = found.setdefault(row["run_id"], {"started": row["started_utc"], "kind": row["kind"],
                                                 "blocks": 0, "flagged": 0, "flags": {}})  # fmt: skip
        entry["blocks"] += row["blocks"]
        flags = json.loads(row["flags"])
        entry["flagged"] += row["blocks"] if flags else 0
        for flag in flags:
            entry["flags"][flag] = entry["flags"].get(flag, 0) + row["blocks"]
    return list(found.values())
