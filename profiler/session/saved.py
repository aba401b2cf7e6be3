"""Comparing two saved results: no device, so no pairing, and the verdict says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.profiler.session.compare import ComparisonResult, decide_gates
from lwprof.profiler.session.energy_gate import saved_ratio
from lwprof.profiler.session.result import SCHEMA
from lwprof.profiler.statistics import Estimate, compare_independent

_MAX_BYTES = 256 * 2**20


def compare_saved(
    a: Path, b: Path, *, margin: float, gates: Mapping[str, float]
) -> ComparisonResult:
    """The verdict over two ``lwprof.measurement/1`` files of one model each.

    The runs were not interleaved, so whatever changed between them on the device is part
    of the difference; a flag says so.

    Raises:
        UsageError: a file is no such result, or holds several models.
    """
    sides = [_read(path) for path in (a, b)]
    logs = [np.log([block["median_s"] for block in model["blocks"] if not block["flags"]] or
                   [block["median_s"] for block in model["blocks"]])
            for model, _, _ in sides]  # fmt: skip
    found = compare_independent(logs[0], logs[1], margin=margin)
    devices = [device for _, device, _ in sides]
    flags = ["not_interleaved"] + (["different_devices"] if devices[0] != devices[1] else [])
    energy = saved_ratio(sides[0][0], sides[1][0]) if "energy" in gates else None
    return ComparisonResult(
        verdict=found.verdict or "unfit",
        reason=found.reason,
        ratio=found.ratio,
        memory_ratio=_memory_ratio(sides[0][0], sides[1][0]),
        margin=margin,
        minimum_detectable_effect=found.minimum_detectable_effect,
        p_value=found.p_value,
        pairs=min(len(log) for log in logs),
        flags=tuple(flags),
        a=_side(*sides[0]),
        b=_side(*sides[1]),
        gates=decide_gates(found.ratio, gates, energy),
        energy_ratio=energy,
        device=devices[0] if devices[0] == devices[1] else " / ".join(devices),
        duration_s=0.0,
    )


def _side(model: Mapping[str, Any], device: str, context: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": model["name"], "sha256": model["sha256"], "device": device,
            "context": dict(context), "latency_s": model["latency_s"]}  # fmt: skip


def _memory_ratio(a: Mapping[str, Any], b: Mapping[str, Any]) -> Estimate | None:
    pair = [side.get("peak_memory_bytes") for side in (a, b)]
    if not all(isinstance(value, dict) for value in pair):
        return None
    try:
        x, y = (Estimate.from_json(value) for value in pair if value is not None)
        low, high = y.low / x.high, y.high / x.low
        return Estimate(y.value / x.value, low, high, blocks=x.blocks)
    except (UsageError, ZeroDivisionError):
        return None


def _read(path: Path) -> tuple[Mapping[str, Any], str, Mapping[str, Any]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path} is too large for a result file")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path} as a result: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"{path} is not an {SCHEMA} file: make one with lwprof measure --json")
    models = data.get("models")
    if not isinstance(models, list) or len(models) != 1:
        raise UsageError(f"{path} must hold exactly one model to be compared")
    model = models[0]
    try:
        Estimate.from_json(model["latency_s"])
        blocks = model["blocks"]
        good = len(blocks) >= 2 and all(
            float(block["median_s"]) > 0 and isinstance(block["flags"], list) for block in blocks
        )
        texts = isinstance(model["name"], str) and isinstance(model["sha256"], str)
    except (KeyError, TypeError, ValueError, UsageError):
        good = texts = False
    if not good or not texts:
        raise UsageError(f"{path} lacks the block values of its model: measure again")
    context = data.get("context")
    return model, str(data.get("device", "")), context if isinstance(context, dict) else {}
