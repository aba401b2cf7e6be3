"""Several devices at once: at the same time, in order, and none stopping another."""

from __future__ import annotations

import json
import threading

import pytest

from lwprof.errors import DeviceError
from lwprof.profiler.session.fleet import measure_fleet


def _silent(_: str):  # type: ignore[no-untyped-def]
    return lambda *_: None


def test_devices_measure_at_the_same_time_and_keep_their_order(measured) -> None:  # type: ignore[no-untyped-def]
    together = threading.Barrier(3, timeout=30)

    def one(device, progress):  # type: ignore[no-untyped-def]
        together.wait()  # breaks unless all three are here at once
        return measured.result

    fleet = measure_fleet(["pi4", "nano", "pi5"], one, _silent)
    assert len(fleet.results) == 3 and not fleet.failures


def test_a_device_that_fails_is_told_and_stops_no_other(measured) -> None:  # type: ignore[no-untyped-def]
    def one(device, progress):  # type: ignore[no-untyped-def]
        if device == "nano":
            raise DeviceError("nano does not answer: is it switched on?")
        return measured.result

    fleet = measure_fleet(["pi4", "nano", "pi5"], one, _silent)
    data = json.loads(json.dumps(fleet.to_json(), allow_nan=False))
    assert data["schema"] == "lwprof.measurements/1"
    assert [r["schema"] for r in data["results"]] == ["lwprof.measurement/1"] * 2
    (failure,) = data["failures"]
    assert failure["device"] == "nano" and "switched on" in failure["error"]


def test_a_defect_is_not_taken_for_a_device_that_fails() -> None:
    def one(device, progress):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure_fleet(["pi4"], one, _silent)
