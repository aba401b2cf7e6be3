"""INA3221 on Jetson modules: the iio form of JetPack 4 and the hwmon form of later ones.

Facts: Linux ``Documentation/hwmon/ina3221.rst``, NVIDIA's design guides. Bus steps of 8 mV,
shunt steps of 40 µV. Voltage and current are two files, so a value mixes two instants.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..system import find, read_count, read_text
from .files import FileSensor, product_uw, scaled
from .sensor import PART, SEPARATE, TOTAL, Missing, Rail

# Labels of rails that feed the whole module; all others lie inside them.
_TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")
_SHUNT_UV = 40.0
_HIGHEST_UW = 200e6
# Without ``update_interval``: three channels, both conversions of 1.1 ms, one sample (the
# chip's power-on settings).
_PERIOD_S = 3 * 2 * 1.1e-3
_INSIDE = (
    ("CPU", "cpu"), ("GPU", "gpu"), ("CV", "accelerators"), ("SOC", "soc"), ("DDR", "memory"),
    ("VDDQ", "memory"), ("VDD2", "memory"), ("SYS5V", "system_5v"), ("SYS_5V", "system_5v"),
)  # fmt: skip


def probe() -> List[Any]:
    """Every INA3221 that is there; one that cannot be read is named."""
    found: List[Any] = []
    for folder in find("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"):
        found += _hwmon(folder)
    for folder in find("/sys/bus/i2c/drivers/ina3221x/*/iio:device*"):
        found += _iio(folder)
    _roles([sensor for sensor in found if isinstance(sensor, FileSensor)])
    return found


def includes(label: str) -> List[str]:
    """What a rail of this name feeds, as far as the name says."""
    if label in _TOTALS:
        return ["module"]
    upper = label.upper()
    return sorted({what for part, what in _INSIDE if part in upper}) or ["unknown"]


def _hwmon(folder: str) -> List[Any]:
    name = folder.split("/")[6]
    rails, paths, labels = [], [], []
    for channel in (1, 2, 3):  # in4 to in7 are shunt voltages and their sum
        label = read_text("%s/in%d_label" % (folder, channel))
        if not label or label == "NC":
            continue
        if read_text("%s/in%d_enable" % (folder, channel)) == "0":
            continue
        shunt = read_count("%s/shunt%d_resistor" % (folder, channel))
        rails.append(_rail(label, read_count("%s/in%d_input" % (folder, channel)), shunt))
        paths.append(["%s/%s%d_input" % (folder, what, channel) for what in ("in", "curr")])
        labels.append(("%s/in%d_label" % (folder, channel), label))
    samples = read_count(folder + "/samples") or 1
    interval_ms = read_count(folder + "/update_interval")
    period_s = interval_ms / 1000.0 if interval_ms else _PERIOD_S * samples
    return _sensor(name, rails, period_s, paths, product_uw, labels, {"samples": samples})


def _iio(folder: str) -> List[Any]:
    name = folder.split("/")[6]
    rails, paths, labels = [], [], []
    for channel in (0, 1, 2):
        label = read_text("%s/rail_name_%d" % (folder, channel))
        if not label or label == "NC":
            continue
        millivolts = read_count("%s/in_voltage%d_input" % (folder, channel))
        rail = _rail(label, millivolts, None)
        rail.resolution = max(rail.resolution or 0.0, 1000.0)  # the file counts milliwatts
        rails.append(rail)
        paths.append(["%s/in_power%d_input" % (folder, channel)])
        labels.append(("%s/rail_name_%d" % (folder, channel), label))
    return _sensor(name, rails, _PERIOD_S, paths, scaled(1000), labels, {})


def _rail(label: str, millivolts: Optional[int], shunt_uohm: Optional[int]) -> Rail:
    """A rail whose steps follow from its shunt, 5 mΩ where the driver does not tell."""
    volts = (millivolts or 5000) / 1000.0
    amperes = _SHUNT_UV / float(shunt_uohm or 5000)
    return Rail(label, includes(label), resolution=1e6 * volts * amperes, high=_HIGHEST_UW)


def _sensor(
    name: str,
    rails: Sequence[Rail],
    period_s: float,
    paths: Sequence[Sequence[str]],
    joining: Any,
    labels: Sequence[Tuple[str, str]],
    context: Dict[str, Any],
) -> List[Any]:
    if not rails:
        return []
    sensor = FileSensor(name, rails, period_s, paths, joining, labels)
    sensor.family = "ina3221"
    # Conversions follow one another without a pause, in turn over the channels: a value is an
    # average over this channel's share of the period.
    sensor.averaging_s = period_s / 3.0
    sensor.context = context
    try:
        sensor.open()
        values = sensor.parse(sensor.read())
    except OSError as error:
        return [Missing("ina3221", name, "cannot be opened: %s" % error, "run as root")]
    finally:
        sensor.close()
    silent = [rail.label for rail, value in zip(rails, values) if value is None]
    if silent:
        sensor.notes.append("no reading from %s" % ", ".join(silent))
    return [sensor]


def _roles(sensors: Sequence[FileSensor]) -> None:
    """One total at most, over all chips; parts without a total are separate."""
    rails = [(sensor, rail) for sensor in sensors for rail in sensor.rails]
    total = any(rail.label in _TOTALS for _, rail in rails)
    for sensor, rail in rails:
        rail.role = TOTAL if rail.label in _TOTALS else PART if total else SEPARATE
        if not total:
            sensor.whole = (
                "no rail of this module feeds all of it: its rails are separate supplies, and "
                "their sum leaves out the carrier board and what has no rail"
            )
