"""A Chrome/Perfetto trace of one inference, with the kernels' names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lwprof.profiler.session.result import ModelResult


def trace_events(result: ModelResult) -> list[dict[str, Any]]:
    """Complete events ("X"), one per kernel, microseconds, laid end to end.

    The times are each kernel's mean over the profiled blocks, corrected for the
    profiler; what lies between two kernels is the gap measured on synthetic chains.
    """
    gap = result.gap_s.value / max(1, len(result.kernels)) if result.gap_s is not None else 0.0
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": result.name}}
    ]
    now = 0.0
    for kernel in result.kernels:
        duration = 0.0 if kernel.latency_s.at_most else max(0.0, kernel.latency_s.value)
        events.append(
            {
                "ph": "X", "pid": 1, "tid": 1, "cat": "kernel",
                "name": "+".join(kernel.operators),
                "ts": now * 1e6, "dur": duration * 1e6,
                "args": {
                    "nodes": list(kernel.nodes), "workload": kernel.workload,
                    "macs": kernel.macs, "provider": kernel.provider,
                    "latency_s": kernel.latency_s.to_json(),
                },
            }
        )  # fmt: skip
        now += duration + gap
    return events


def write_trace(result: ModelResult, path: str) -> None:
    """Writes the trace as JSON that chrome://tracing and Perfetto open."""
    data = {"traceEvents": trace_events(result), "displayTimeUnit": "ms",
            "otherData": {"model": result.name, "sha256": result.sha256,
                          "times": "means over profiled blocks, corrected"}}  # fmt: skip
    Path(path).write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
