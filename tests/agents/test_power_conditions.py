"""What came and went within a window is seen; Android's texts are read line by line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_power import write

from lwprof.agents.program import android_text, environment
from lwprof.agents.program.conditions import Conditions

FREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
BITS = "/sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_SYSROOT", str(tmp_path))
    write(tmp_path, f"{FREQ}/scaling_cur_freq", "1500000\n")
    write(tmp_path, f"{FREQ}/scaling_max_freq", "1500000\n")
    write(tmp_path, BITS, "50005\n")
    write(tmp_path, "/sys/class/thermal/cooling_device0/type", "thermal-cpufreq-0\n")
    write(tmp_path, "/sys/class/thermal/cooling_device0/cur_state", "0\n")
    write(tmp_path, "/sys/class/thermal/cooling_device1/type", "rpi-poe-fan\n")
    write(tmp_path, "/sys/class/thermal/cooling_device1/cur_state", "3\n")
    write(tmp_path, "/sys/class/thermal/thermal_zone0/temp", "61000\n")
    write(tmp_path, "/sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(tmp_path, "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    return tmp_path


def change(root: Path, path: str, text: str) -> None:
    """Rewrites in place: a reader never finds an empty file."""
    with (root / path.lstrip("/")).open("r+") as file:
        file.write(text)


def test_what_came_and_went_within_a_window_is_seen(pi: Path) -> None:
    guard = Conditions([0], period_s=0.01)
    guard.begin()
    change(pi, f"{FREQ}/scaling_cur_freq", "0600000\n")
    change(pi, "/sys/class/thermal/cooling_device0/cur_state", "2\n")
    change(pi, "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    time.sleep(0.3)
    change(pi, f"{FREQ}/scaling_cur_freq", "1500000\n")
    change(pi, "/sys/class/thermal/cooling_device0/cur_state", "0\n")
    change(pi, "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    guard.end()
    seen = guard.close()
    assert (seen["low_freq_hz"], seen["high_freq_hz"]) == (600_000_000, 1_500_000_000)
    assert seen["low_limit_hz"] == seen["high_limit_hz"] == 1_500_000_000
    assert seen["max_cooling"] == 2  # the fan's state slows nothing down
    assert seen["under_voltage"] is True and seen["max_temp_c"] == 61.0
    # Of 0x50005 only the present bits: under-voltage and throttled.
    assert seen["throttled_bits"] == 0b0101


def test_between_windows_nothing_is_seen(pi: Path) -> None:
    guard = Conditions([0], period_s=0.01)
    guard.begin()
    guard.end()
    change(pi, f"{FREQ}/scaling_cur_freq", "0600000\n")
    time.sleep(0.1)
    change(pi, f"{FREQ}/scaling_cur_freq", "1500000\n")
    guard.begin()
    guard.end()
    assert guard.close()["low_freq_hz"] == 1_500_000_000


def test_where_nothing_can_be_seen_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWPROF_SYSROOT", str(tmp_path))
    guard = Conditions([0, 1])
    guard.begin()
    guard.end()
    assert guard.close() == {}


def test_a_snapshot_tells_limits_fans_and_battery(pi: Path) -> None:
    write(pi, "/sys/class/hwmon/hwmon2/name", "pwmfan\n")
    write(pi, "/sys/class/hwmon/hwmon2/fan1_input", "2450\n")
    write(pi, "/sys/class/power_supply/battery/type", "Battery\n")
    write(pi, "/sys/class/power_supply/battery/status", "Discharging\n")
    write(pi, "/sys/class/power_supply/battery/capacity", "17\n")
    state = environment.snapshot()
    assert state["frequency_limits_hz"] == {"cpu0": 1_500_000_000}
    assert state["fans_rpm"] == {"pwmfan:fan1_input": 2450}
    assert state["battery"] == {"status": "Discharging", "capacity_percent": 17}


THERMAL = """IsStatusOverride: false
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=48.2, mType=3, mName=VIRTUAL-SKIN, mStatus=2}
\tTemperature{mValue=-274.0, mType=0, mName=dead, mStatus=0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  level: 71
  voltage: 4102
  temperature: 312
"""


def test_androids_texts() -> None:
    assert android_text.thermal_service(THERMAL) == {
        "status": 2, "zones": [{"type": "VIRTUAL-SKIN", "temp_c": 48.2, "status": 2}]
    }  # fmt: skip
    assert android_text.battery(BATTERY) == {
        "status": "Charging", "capacity_percent": 71, "temp_c": 31.2, "voltage_v": 4.102,
        "powered": True,
    }  # fmt: skip
    assert android_text.screen_on("  mWakefulness=Asleep\n") is False
    assert android_text.screen_on("nothing") is None


@pytest.mark.parametrize("text", ["", "Thermal Status: x", "status: 99999999999", "level: 300"])
def test_strange_texts_say_nothing(text: str) -> None:
    assert android_text.thermal_service(text) == {} and android_text.battery(text) == {}
