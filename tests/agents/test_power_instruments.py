"""Power sensors are found by label in invented trees, with their scope, and read exactly."""

from __future__ import annotations

import os
import pty
import stat
import struct
import threading
from pathlib import Path

import fake_power
import pytest
from fake_power import write

from lwprof.agents.program.instruments import finding, meter, odpm, rpi_pmic
from lwprof.agents.program.instruments.sensor import Sensor

PMIC = b""" 3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=0.95000000A
   DDR_VDD2_A current(3)=nanA
    HDMI_A current(11)=0.02000000A
   VDD_CORE_V volt(15)=0.80000000V
  3V7_WL_SW_V volt(8)=3.70000000V
   DDR_VDD2_V volt(11)=1.10000000V
     EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.01000000V
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_SYSROOT", str(tmp_path))
    monkeypatch.delenv("LWPROF_METER", raising=False)
    return tmp_path


def only() -> Sensor:
    sensors, _ = finding.probe()
    assert len(sensors) == 1
    return sensors[0]


def reading(sensor: Sensor) -> dict[str, int | None]:
    sensor.open()
    try:
        values = sensor.parse(sensor.read())
    finally:
        sensor.close()
    return {rail.label: value for rail, value in zip(sensor.rails, values, strict=True)}


def test_the_hwmon_form_of_a_jetson_is_read_by_label(root: Path) -> None:
    sensor = only_of(fake_power.orin_nano(root))
    assert reading(sensor) == {"VDD_IN": 5056 * 912, "VDD_CPU_GPU_CV": 5056 * 120,
                               "VDD_SOC": 5048 * 264}  # fmt: skip
    roles = {rail.label: rail.role for rail in sensor.rails}
    assert roles == {"VDD_IN": "total", "VDD_CPU_GPU_CV": "part", "VDD_SOC": "part"}
    assert sensor.rails[1].includes == ["accelerators", "cpu", "gpu"]
    # One step of 40 µV over 5 mΩ is 8 mA, at 5.056 V.
    assert sensor.rails[0].resolution == pytest.approx(0.008 * 5.056e6)
    assert sensor.to_json()["sysroot"] == str(root)


def only_of(tree: Path) -> Sensor:
    assert tree.is_dir()
    return only()


def test_numbers_of_hwmon_and_of_channels_do_not_matter(root: Path) -> None:
    fake_power.orin_nano(root)
    chip = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon"
    (chip / "hwmon1").rename(chip / "hwmon7")
    for name in ("label", "input"):
        a, b = (chip / "hwmon7" / f"in{n}_{name}" for n in (1, 3))
        text = a.read_text()
        a.write_text(b.read_text())
        b.write_text(text)
    a, b = (chip / "hwmon7" / f"curr{n}_input" for n in (1, 3))
    text = a.read_text()
    a.write_text(b.read_text())
    b.write_text(text)
    found = reading(only())
    assert found["VDD_IN"] == 5056 * 912 and found["VDD_SOC"] == 5048 * 264


def test_an_agx_orin_has_no_module_total(root: Path) -> None:
    fake_power.agx_orin(root)
    sensors, _ = finding.probe()
    assert [sensor.name for sensor in sensors] == ["1-0040", "1-0041"]
    rails = [rail for sensor in sensors for rail in sensor.rails]
    assert {rail.role for rail in rails} == {"separate"}
    assert all(sensor.whole and "no rail" in sensor.whole for sensor in sensors)
    assert "NC" not in {rail.label for rail in rails}


def test_the_iio_form_of_an_old_jetson_is_in_milliwatts(root: Path) -> None:
    sensor = only_of(fake_power.nano(root))
    assert reading(sensor)["POM_5V_IN"] == 2_200_000
    assert [rail.role for rail in sensor.rails] == ["total", "part", "part"]


def test_a_channel_that_fails_is_none_and_silences_no_other(root: Path) -> None:
    fake_power.orin_nano(root)
    base = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    (base / "curr2_input").write_text("nan\n")
    sensor = only()
    found = reading(sensor)
    assert found["VDD_CPU_GPU_CV"] is None and found["VDD_IN"] == 5056 * 912
    assert "VDD_CPU_GPU_CV" in sensor.notes[0]


def test_a_renamed_rail_is_noticed(root: Path) -> None:
    fake_power.orin_nano(root)
    sensor = only()
    assert sensor.check() is None
    label = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label"
    label.write_text("VDD_SOC\n")
    assert "VDD_SOC" in (sensor.check() or "")
    label.unlink()
    assert sensor.check() is not None


def test_a_shunt_monitor_is_in_microwatts_and_two_have_no_total(root: Path) -> None:
    write(root, "/sys/class/hwmon/hwmon3/name", "ina226\n")
    write(root, "/sys/class/hwmon/hwmon3/power1_input", "3125000\n")
    write(root, "/sys/class/hwmon/hwmon3/shunt_resistor", "10000\n")
    write(root, "/sys/class/hwmon/hwmon3/update_interval", "34\n")
    write(root, "/sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    sensor = only()
    assert reading(sensor) == {"ina226": 3_125_000}
    assert sensor.period_s == pytest.approx(0.034) and sensor.context["shunt_uohm"] == 10000
    write(root, "/sys/class/hwmon/hwmon4/name", "ina219\n")
    write(root, "/sys/class/hwmon/hwmon4/power1_input", "1000\n")
    sensors, _ = finding.probe()
    assert {s.rails[0].role for s in sensors} == {"separate"} and sensors[0].whole


def test_rapl_domains_overlap_and_only_one_is_the_total(root: Path) -> None:
    for folder, name, value in (("intel-rapl:0", "package-0", 5), ("intel-rapl:0:0", "core", 3),
                                ("intel-rapl:0:1", "dram", 2)):  # fmt: skip
        write(root, f"/sys/class/powercap/{folder}/name", f"{name}\n")
        write(root, f"/sys/class/powercap/{folder}/energy_uj", f"{value}\n")
        write(root, f"/sys/class/powercap/{folder}/max_energy_range_uj", "262143328850\n")
    sensor = only()
    roles = {rail.label: rail.role for rail in sensor.rails}
    assert roles == {"package-0": "total", "core-0": "part", "dram-0": "separate"}
    assert sensor.rails[0].wrap == 262143328850 and sensor.rails[0].unit == "uJ"
    (root / "sys/class/powercap/intel-rapl:0/max_energy_range_uj").write_text("\n")
    assert only().rails[0].wrap is None  # unknown, never 0


def test_pairs_of_the_power_chip_are_matched_by_name() -> None:
    # The indices of VDD_CORE's current and voltage differ, as on a real board.
    assert rpi_pmic.pairs(PMIC) == {"3V7_WL_SW": 370_000, "VDD_CORE": 760_000}


def test_a_pi_5_asks_its_firmware_and_a_pi_4_says_that_it_has_no_sensor(root: Path) -> None:
    write(root, "/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    answer = write(root, "/answer", PMIC.decode())
    program = write(root, "/usr/bin/vcgencmd", f"#!/bin/sh\ncat {answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    sensor = only()
    assert reading(sensor) == {"3V7_WL_SW": 370_000, "VDD_CORE": 760_000}
    assert sensor.costly and sensor.whole and {r.role for r in sensor.rails} == {"separate"}
    write(root, "/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    answer.write_text('error=1 error_msg="Command not registered"\n')
    sensors, missing = finding.probe()
    assert not sensors and "no power sensor" in missing[0].why
    assert "external meter" in missing[0].advice and "simulated" in missing[0].advice


def test_a_phones_counters_are_read_by_rail_with_their_own_time(root: Path) -> None:
    base = "/sys/bus/iio/devices/iio:device1"
    text = "t=358356\nCH0(T=358356)[S2M_VDD_CPUCL2], 145832654\nCH1(T=358356)[VSYS_DDR], 99\n"
    write(root, f"{base}/name", "s2mpg10-odpm\n")
    write(root, f"{base}/energy_value", text)
    sensor = only()
    assert reading(sensor) == {"S2M_VDD_CPUCL2": 145832654, "VSYS_DDR": 99}
    assert sensor.stamp_ns(text.encode()) == 358_356_000_000
    # A rail that appears twice is nobody's.
    assert odpm.energies(text.encode() + b"CH9(T=1)[VSYS_DDR], 5\n") == {
        "S2M_VDD_CPUCL2": 145832654
    }


def test_a_battery_keeps_its_sign_and_tells_its_state(root: Path) -> None:
    base = "/sys/class/power_supply/battery"
    for name, text in (("type", "Battery"), ("current_now", "-812500"), ("voltage_now", "3850000"),
                       ("status", "Discharging"), ("capacity", "71"), ("temp", "312")):  # fmt: skip
        write(root, f"{base}/{name}", f"{text}\n")
    write(root, "/sys/class/power_supply/ucsi-source-psy-1/type", "USB\n")
    sensor = only()
    assert reading(sensor) == {"battery": -3_128_125}
    assert sensor.state() == {"status": "Discharging", "capacity_percent": 71, "temp_c": 31.2}


@pytest.mark.parametrize("milliwatts, expected", [(1672, 1_672_000), (6000, None)])
def test_a_serial_meter_is_asked_and_its_figures_must_agree(
    root: Path, monkeypatch: pytest.MonkeyPatch, milliwatts: int, expected: int | None
) -> None:
    ours, theirs = pty.openpty()
    answer = struct.pack(">HHHI", 0x09C9, 5100, 3280, milliwatts).ljust(130, b"\0")

    def serve() -> None:
        while True:
            try:
                if os.read(ours, 1) == b"\xf0":
                    os.write(ours, answer)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setenv("LWPROF_METER", f"um25c:{os.ttyname(theirs)}")
    sensors, missing = finding.probe()
    if expected is None:
        assert not sensors and "not a um25c" in missing[0].why
    else:
        assert reading(sensors[0]) == {"USB": expected}
    os.close(theirs)


def test_an_unknown_meter_is_named_with_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWPROF_METER", "um99:/dev/ttyUSB0")
    _, missing = finding.probe()
    assert "um25c" in missing[0].advice and set(meter.KINDS) == {"um24c", "um25c", "um34c"}


def test_a_machine_without_sensors_has_none(root: Path) -> None:
    assert finding.describe() == {"sensors": [], "missing": [], "sysroot": str(root)}


def test_two_rails_of_one_name_are_nobodys(root: Path) -> None:
    fake_power.orin_nano(root)
    base = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    (base / "in2_label").write_text("VDD_IN\n")
    sensors, missing = finding.probe()
    assert not sensors and "'VDD_IN'" in missing[0].why
