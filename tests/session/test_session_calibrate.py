"""A step test through a real agent finds a rail's averaging, and later sessions use it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lwprof.agents import Agent, LocalTarget
from lwprof.device_profiles.calibrations import Calibration, calibration, keep_calibration
from lwprof.errors import UsageError
from lwprof.profiler.session.calibrate import calibrate, calibrated
from lwprof.profiler.session.meter import Meter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agents"))
import fake_power

CHIP = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
SENSOR = {"family": "ina3221", "name": "1-0040", "period_s": 0.01,
          "rails": [{"label": "VDD_IN", "includes": ["module"], "unit": "uW", "role": "total"}]
          }  # fmt: skip


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_the_step_test_finds_the_rails_averaging(tmp_path: Path) -> None:
    tree = fake_power.orin_nano(tmp_path / "tree")
    (tree / CHIP / "in1_input").write_text(f"{fake_power.LOADED_MV}\n")
    (tree / CHIP / "update_interval").write_text("10\n")
    rail = fake_power.SyntheticRail(
        tree / CHIP / "curr1_input", 2.0, 3.0, 0.02,
        lambda: fake_power.processes_of(tree, b"worker"),
    )  # fmt: skip
    target = LocalTarget(workdir=tmp_path / "work", env={"LWPROF_SYSROOT": str(tree)})
    try:
        with target, Agent(target) as agent:
            meter, found = calibrate(agent, (0,))
            unit = agent.facts().hardware_id
    except UsageError as error:
        pytest.skip(f"a busy machine starved the rail or the load: {error}")
    finally:
        rail.close()
    # The rail averages 20 ms of processor time, and is read up to 20 ms later. A busy machine
    # smears both.
    assert 0.005 <= found.averaging_s + found.lag_s <= 0.1
    kept = calibration(unit, "ina3221:1-0040")
    assert kept is not None and kept.lag_s == found.lag_s
    better = calibrated(meter, unit)
    assert better.rails[0].averaging_s == found.averaging_s
    assert better.known["lag_s"] == found.lag_s and better.scope()["step_test"]


def test_calibrations_are_kept_by_unit_and_sensor(config: Path) -> None:
    first = Calibration(0.001, 0.002, 0.003, "2026-01-02")
    keep_calibration("unit-a", "ina3221:1-0040", first)
    keep_calibration("unit-b", "um25c:um25c", Calibration(0.4, 0.5, 0.5, "2026-01-03"))
    assert calibration("unit-a", "ina3221:1-0040") == first
    assert calibration("unit-a", "um25c:um25c") is None
    plain = Meter(SENSOR, ("VDD_IN",))
    assert calibrated(plain, "unit-c") is plain and plain.known == {}
    (config / "sensors.toml").write_text('["u"."s"]\nlag_s = -1\naveraging_s = 0\nperiod_s = 1\n'
                                         'measured = "x"\n')  # fmt: skip
    with pytest.raises(UsageError, match="between 0 and 60 s"):
        calibration("u", "s")


def test_without_a_sensor_there_is_nothing_to_calibrate(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    env = {"LWPROF_SYSROOT": str(tmp_path / "tree")}
    target = LocalTarget(workdir=tmp_path / "work", env=env)
    with target, Agent(target) as agent, pytest.raises(UsageError, match="nothing to calibrate"):
        calibrate(agent, (0,))
