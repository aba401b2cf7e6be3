"""INA219, 220, 226, 230, 231 and 238 through hwmon: add-on shunt monitors, AGX Thor's VIN.

``power1_input`` is in µW. All figures hang on ``shunt_resistor``: a wrong one scales them all,
so it is recorded, and the sensor counts as not calibrated.
"""

from __future__ import annotations

from typing import Any, List

from ..system import find, read_count, read_text
from .files import FileSensor, scaled
from .sensor import SEPARATE, TOTAL, Missing, Rail

_CHIPS = ("ina219", "ina220", "ina226", "ina230", "ina231", "ina233", "ina237", "ina238")
_DEFAULT_S = {"ina219": 0.532e-3, "ina220": 0.532e-3}
_OTHERS_S = 2.2e-3  # both conversions of 1.1 ms, one sample: the power-on settings
_HIGHEST_UW = 1000e6


def probe() -> List[Any]:
    """Every such chip; where several are there, none is the total."""
    found: List[Any] = []
    for folder in find("/sys/class/hwmon/hwmon*"):
        chip = read_text(folder + "/name") or ""
        if chip in _CHIPS:
            found.append(_sensor(folder, chip))
    sensors = [sensor for sensor in found if isinstance(sensor, FileSensor)]
    for sensor in sensors:
        sensor.rails[0].role = TOTAL if len(sensors) == 1 else SEPARATE
        if len(sensors) > 1:
            sensor.whole = "several monitors are attached: say which one feeds the device"
    return found


def _sensor(folder: str, chip: str) -> Any:
    label_path = folder + "/power1_label"
    label = read_text(label_path) or read_text(folder + "/label")
    where = read_text(folder + "/device/name") or chip
    name = label or where
    if read_count(folder + "/power1_input") is None:
        return Missing(chip, name, "power1_input cannot be read", "check its wiring; run as root")
    interval_ms = read_count(folder + "/update_interval")
    period_s = interval_ms / 1000.0 if interval_ms else _DEFAULT_S.get(chip, _OTHERS_S)
    includes = ["board"] if label in (None, "VIN") else ["unknown"]
    rail = Rail(label or chip, includes, high=_HIGHEST_UW)
    sensor = FileSensor(
        name, [rail], period_s, [[folder + "/power1_input"]], scaled(1),
        [(label_path, label)] if label and read_text(label_path) else [(folder + "/name", chip)],
    )  # fmt: skip
    sensor.family = chip
    sensor.averaging_s = period_s  # conversions follow one another without a pause
    shunt = read_count(folder + "/shunt_resistor")
    if shunt is not None:
        sensor.context["shunt_uohm"] = shunt
        # The power register counts 25 (INA226) or 20 (INA219) current steps of the
        # calibration register, which the driver derives from the shunt.
    sensor.notes.append("includes whatever is fed after its shunt; all figures scale with it")
    return sensor
