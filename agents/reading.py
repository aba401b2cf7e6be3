"""Checks that a device's answers are what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from lwprof.agents.messages import (
    RESULTS,
    BlockRecord,
    BlockReply,
    Message,
    ProfileResult,
    TimeResult,
)
from lwprof.agents.power_messages import EnergyResult
from lwprof.errors import DeviceError

M = TypeVar("M", bound=Message)

_MAX_TEXT = 4096


def read(data: Any, kind: type[M], device: str) -> M:
    """``data`` from a device as a message.

    Raises:
        DeviceError: it is not one; the message names the field.
    """
    try:
        return msgspec.convert(clean(data), kind)
    except msgspec.ValidationError as error:
        raise DeviceError(
            f"{device} sent a malformed {kind.__name__} ({error}); "
            f"its agent may be damaged: try again"
        ) from None


def block_record(data: Any, script: Mapping[str, Any], device: str) -> BlockRecord:
    """A finished block, checked against the script that asked for it.

    Raises:
        DeviceError: malformed, or not an answer to this script.
    """
    reply = read(data, BlockReply, device)
    steps: Sequence[Mapping[str, Any]] = script["steps"]
    if reply.id != clean(script["id"]) or len(reply.steps) != len(steps):
        raise DeviceError(f"{device} answered another block than the one asked for; measure again")
    if len(reply.workers) != len(script["workers"]):
        raise DeviceError(f"{device} reported another number of workers; measure again")
    results = [
        _step_result(step, raw, device) for step, raw in zip(steps, reply.steps, strict=True)
    ]
    return BlockRecord(
        id=reply.id, steps=results, environment=reply.environment, workers=reply.workers,
        started_monotonic_ns=reply.started_monotonic_ns, duration_s=reply.duration_s,
        boot_id=reply.boot_id,
    )  # fmt: skip


def _step_result(step: Mapping[str, Any], raw: Mapping[str, Any], device: str) -> Message:
    result = read(raw, RESULTS[step["do"]], device)
    if isinstance(result, TimeResult):
        _check_times(step, result, device)
    elif isinstance(result, ProfileResult):
        _check_profile(result, device)
    elif isinstance(result, EnergyResult):
        _check_energy(step, result, device)
    return result


def _check_times(step: Mapping[str, Any], result: TimeResult, device: str) -> None:
    sessions = [clean(name) for name in step["sessions"]]
    slices = {name: result.order.count(name) for name in sessions}
    n = step.get("n")
    proper = (
        set(result.times_ns) == set(sessions)
        and set(result.order) <= set(sessions)
        and all(len(result.times_ns[name]) == slices[name] for name in sessions)
        and all(part and (n is None or len(part) == n)
                for parts in result.times_ns.values() for part in parts)
    )  # fmt: skip
    if not proper:
        raise DeviceError(f"{device} sent times that do not fit the step; measure again")


def _check_profile(result: ProfileResult, device: str) -> None:
    width = len(result.nodes)
    proper = len(result.run_ns) == len(result.durations_ns) and all(
        len(row) == width for row in result.durations_ns
    )
    if not proper:
        raise DeviceError(f"{device} sent a profile whose rows do not fit; measure again")


def _check_energy(step: Mapping[str, Any], result: EnergyResult, device: str) -> None:
    times, asked = result.samples.t_ns, step["windows"]
    labels = {rail.label for rail in result.sensor.rails}
    edges = [edge for window in result.windows for edge in (window.t0_ns, window.t1_ns)]
    stamps = result.samples.stamps_ns
    proper = (
        len(labels) == len(result.sensor.rails)
        and set(result.samples.values) == labels
        and all(len(values) == len(times) for values in result.samples.values.values())
        and (stamps is None or len(stamps) == len(times))
        and times == sorted(times)
        and edges == sorted(edges)
        and [(w.kind, w.session) for w in result.windows]
        == [(w["kind"], w.get("session")) for w in asked]
        and all(window.n for window in result.windows if window.kind == "run")
        and (result.sensor.family, result.sensor.name) == (clean(step["family"]),
                                                           clean(step["name"]))
    )  # fmt: skip
    if not proper:
        raise DeviceError(f"{device} sent power samples that do not fit the step; measure again")


def clean(value: Any) -> Any:
    """``value`` with control characters taken out of every text, keys included, and texts cut."""
    if isinstance(value, str):
        text = value if value.isprintable() else "".join(c for c in value if c.isprintable())
        return text[:_MAX_TEXT]
    if isinstance(value, dict):
        return {clean(key): clean(entry) for key, entry in value.items()}
    if isinstance(value, list):
        # Long lists are numbers: those need no look at each.
        if value and all(type(entry) is int for entry in value):
            return value
        return [clean(entry) for entry in value]
    return value
