"""Block scripts with a power sensor, and what their records say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.errors import DeviceError
from lwprof.profiler.session.meter import Meter
from lwprof.profiler.session.scripts import Runnable, _block, _load, _warm
from lwprof.profiler.statistics.energy import Visit, visits
from lwprof.profiler.statistics.power import Rail, SensorRefused, Trace, Window, trace

_LEAST_RUNS = 3


def script(
    work: Sequence[tuple[str, Runnable, float]],
    meter: Meter,
    affinity: Sequence[int],
    *,
    seed: int = 0,
    rate_hz: float | None = None,
) -> dict[str, Any]:
    """One fresh process that repeats each model in a window of its own, idle in between.

    Args:
        work: session name, model and seconds of one run, in the order of the windows.
        seed: of the dither of the readings.
        rate_hz: runs per second at most; None: one after another.
    """
    steps = [_load(0, name, model) for name, model, _ in work]
    steps += [_warm(0, [name], seconds) for name, _, seconds in work]
    idle: dict[str, Any] = {"kind": "idle", "seconds": meter.idle_s}
    windows = [idle]
    for name, _, seconds in work:
        length = max(meter.run_s, _LEAST_RUNS * seconds)
        if rate_hz is not None:
            length = max(length, _LEAST_RUNS / rate_hz)
        run = {"kind": "run", "session": name, "seconds": length, "rate_hz": rate_hz}
        windows += [run, idle]
    energy = {"do": "energy", "worker": 0, "family": meter.sensor["family"],
              "name": meter.sensor["name"], "rails": list(meter.labels), "period_s": None, "seed": seed,
              "windows": windows}  # fmt: skip
    return _block(1, [*steps, energy], affinity)


def read(
    script: Mapping[str, Any],
    record: Mapping[str, Any],
    labels: Sequence[str],
    known: Mapping[str, Any] | None = None,
) -> dict[str, Visit]:
    """The visit of each session of a block made by ``script``; arguments as of ``traces``.

    Raises:
        SensorRefused: the readings do not tell energy.
        DeviceError: the record lacks the step's result.
    """
    parts = [visits(*found) for found in traces(script, record, labels, known)]
    return {row[0].session: together(row) for row in zip(*parts, strict=True)}


def traces(
    script: Mapping[str, Any],
    record: Mapping[str, Any],
    labels: Sequence[str],
    known: Mapping[str, Any] | None = None,
) -> list[tuple[Trace, list[Window]]]:
    """Energy over time of each rail, and the windows, of a block's energy step.

    Args:
        known: what is known better of the sensor than the device tells (``lag_s`` …).

    Raises:
        SensorRefused: the readings do not tell energy.
        DeviceError: the record lacks the step's result.
    """
    for step, result in zip(script["steps"], record["steps"], strict=False):
        if step["do"] == "energy":
            return _traces(result, labels, known or {})
    raise DeviceError("an energy block came back without its windows; measure again")


def _traces(
    result: Mapping[str, Any], labels: Sequence[str], known: Mapping[str, Any]
) -> list[tuple[Trace, list[Window]]]:
    samples, sensor = result["samples"], {**result["sensor"], **known}
    # Times count from the first window: nanoseconds since the boot do not fit a float well.
    zero = int(result["windows"][0]["t0_ns"])
    windows = [
        Window((w["t0_ns"] - zero) * 1e-9, (w["t1_ns"] - zero) * 1e-9, int(w.get("n") or 0),
               str(w.get("session") or ""))
        for w in result["windows"]
    ]  # fmt: skip
    times, values = _fresh(samples, zero)
    there = [rail["label"] for rail in sensor["rails"]]
    gone = [label for label in labels if label not in there]
    if gone:
        raise SensorRefused(f"the sensor no longer has a rail called {', '.join(gone)}")
    states, changed = samples.get("states") or (), samples.get("changed")
    return [
        (trace(Rail.from_json(sensor, label), times, values[label], windows, states=states,
               changed=changed), windows)
        for label in labels
    ]  # fmt: skip


def _fresh(samples: Mapping[str, Any], zero: int) -> tuple[list[int], dict[str, list[int | None]]]:
    """Readings without those that a sensor's own time stamp shows to be old."""
    stamps = samples.get("stamps_ns")
    keep = list(range(len(samples["t_ns"])))
    if stamps:
        keep = [i for i in keep if i == 0 or stamps[i] is None or stamps[i] != stamps[i - 1]]
    times = [samples["t_ns"][i] - zero for i in keep]
    return times, {label: [row[i] for i in keep] for label, row in samples["values"].items()}


def together(parts: Sequence[Visit]) -> Visit:
    """Separate rails of one window as one: joules add, errors add as variances."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]

    def total(name: str) -> float:
        return float(sum(getattr(part, name) for part in parts))

    def joined(name: str) -> float:
        return math.sqrt(sum(getattr(part, name) ** 2 for part in parts))

    return Visit(
        session=first.session, energy_j=total("energy_j"), above_idle_j=total("above_idle_j"),
        power_w=total("power_w"), idle_w=total("idle_w"), seconds=first.seconds, n=first.n,
        spread_w=joined("spread_w"), idle_spread_w=joined("idle_spread_w"),
        step_w=joined("step_w"),
    )  # fmt: skip
