"""The step test of a device's power sensor, for callers in Python: no command runs it yet."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lwprof.agents import Agent
from lwprof.device_profiles.calibrations import Calibration, calibration, keep_calibration
from lwprof.errors import UsageError
from lwprof.profiler.session.chains import LONG, chain_inputs, chain_model
from lwprof.profiler.session.energy_blocks import traces
from lwprof.profiler.session.meter import Meter, choose, instruments_of, why_none
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.scripts import Runnable, _block, _load
from lwprof.profiler.statistics.calibrating import Response, response

_STEPS = 12
_TYPICAL_PERIODS = 25.0


def calibrate(agent: Agent, affinity: tuple[int, ...], *, seed: int = 0) -> tuple[Meter, Response]:
    """Runs the step test and keeps what it found for this unit.

    Args:
        agent: an open device.
        affinity: processors to load.
        seed: of the windows' lengths.

    Raises:
        UsageError: there is no sensor, or the load does not show in it.
        SensorRefused: its readings cannot be trusted.
    """
    found = instruments_of(agent)
    meter = choose(found, "CPU")
    if meter is None:
        raise UsageError(f"there is nothing to calibrate: {why_none(found)}")
    script = _script(agent, meter, affinity, random.Random(seed))
    record = agent.run_block(script).to_json()
    [(trace, windows), *_] = traces(script, record, meter.labels[:1])
    answer = response(trace, windows)
    entry = Calibration(answer.lag_s, answer.averaging_s, answer.period_s,
                        datetime.date.today().isoformat())  # fmt: skip
    keep_calibration(agent.facts().hardware_id, meter.scope()["sensor"], entry)
    return meter, answer


def calibrated(meter: Meter, hardware_id: str) -> Meter:
    """The meter with what a step test on this unit found, where there was one."""
    name = f"{meter.sensor['family']}:{meter.sensor['name']}"
    known = calibration(hardware_id, name)
    if known is None:
        return meter
    sensor: Mapping[str, Any] = {
        **meter.sensor, "lag_s": known.lag_s, "averaging_s": known.averaging_s,
        "step_test": known.measured,
    }  # fmt: skip
    return replace(meter, sensor=sensor)


def _script(
    agent: Agent, meter: Meter, affinity: tuple[int, ...], rng: random.Random
) -> dict[str, Any]:
    settings = Settings(threads=max(1, len(affinity)))
    options = settings.runtime_options(settings.threads or 1)
    model = Runnable(agent.put(chain_model(LONG)), chain_inputs(), options)
    length = max(0.15, _TYPICAL_PERIODS * meter.rails[0].period_s)
    windows: list[dict[str, Any]] = []
    for _ in range(_STEPS):
        # Lengths that are no multiples of the sensor's period show every phase of it.
        windows.append({"kind": "idle", "seconds": length * rng.uniform(0.8, 1.2)})
        windows.append({"kind": "run", "session": "load",
                        "seconds": length * rng.uniform(0.8, 1.2)})  # fmt: skip
    windows.append({"kind": "idle", "seconds": length})
    energy = {"do": "energy", "worker": 0, "family": meter.sensor["family"],
              "name": meter.sensor["name"], "rails": [meter.labels[0]], "period_s": None,
              "seed": rng.randrange(2**31), "windows": windows}  # fmt: skip
    return _block(1, [_load(0, "load", model), energy], affinity)
