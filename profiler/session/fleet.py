"""Several devices at the same time: one thread each, and one failing does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lwprof.errors import LwprofError
from lwprof.profiler.session.result import MeasurementResult
from lwprof.profiler.session.runner import Progress

SCHEMA = "lwprof.measurements/1"

One = Callable[[str, Progress], MeasurementResult]
"""Measures on the device of that name. It opens its own store: database sessions are not
shared between threads."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A device that gave no result, and the line that says why."""

    device: str
    error: LwprofError

    def to_json(self) -> dict[str, Any]:
        return {"device": self.device, "error": str(self.error),
                "kind": type(self.error).__name__}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FleetResult:
    """Results of several devices, and the devices that failed.

    Attributes:
        results, failures: in the order in which the devices were named.
    """

    results: tuple[MeasurementResult, ...]
    failures: tuple[Failure, ...]

    def to_json(self) -> dict[str, Any]:
        """``lwprof.measurements/1``."""
        return {
            "schema": SCHEMA,
            "results": [result.to_json() for result in self.results],
            "failures": [failure.to_json() for failure in self.failures],
        }


def measure_fleet(
    devices: Sequence[str], one: One, progress: Callable[[str], Progress]
) -> FleetResult:
    """Measures on every device at once.

    Args:
        devices: names, each once.
        one: measures on one of them.
        progress: gives each device's progress line, by its name.
    """
    found: dict[str, MeasurementResult] = {}
    failures: dict[str, LwprofError] = {}

    def run(device: str) -> None:
        try:
            found[device] = one(device, progress(device))
        except LwprofError as error:
            failures[device] = error

    with ThreadPoolExecutor(max_workers=len(devices)) as pool:
        for done in [pool.submit(run, device) for device in devices]:
            done.result()  # anything else that was raised is a defect of ours: let it show
    return FleetResult(
        tuple(found[device] for device in devices if device in found),
        tuple(Failure(device, failures[device]) for device in devices if device in failures),
    )
