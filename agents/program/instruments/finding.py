"""All power sensors of this device, and those that are there but of no use, with advice."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..system import sysroot
from . import battery, ina2xx, ina3221, meter, nvml, odpm, rapl, rpi_pmic
from .sensor import Missing, Sensor

# An external meter is named on purpose, so it comes first; then what measures, then models.
FAMILIES = (meter, ina3221, ina2xx, rpi_pmic, odpm, rapl, nvml, battery)


def probe() -> Tuple[List[Sensor], List[Missing]]:
    """Sensors in order of preference, and what cannot be used.

    A family whose probing fails in an unforeseen way is named and hides no other.
    """
    sensors: List[Sensor] = []
    missing: List[Missing] = []
    for family in FAMILIES:
        try:
            found = family.probe()
        except Exception as error:  # noqa: BLE001 - a strange tree must not end a session
            name = family.__name__.rsplit(".", 1)[1]
            found = [Missing(name, name, "probing failed: %s" % error)]
        for one in found:
            twice = None if isinstance(one, Missing) else _twice(one)
            if twice is not None:
                one = Missing(one.family, one.name, "two of its rails are called %r" % twice)
            if isinstance(one, Missing):
                missing.append(one)
            else:
                sensors.append(one)
    return sensors, missing


def _twice(sensor: Sensor) -> Optional[str]:
    labels = [rail.label for rail in sensor.rails]
    return next((label for label in labels if labels.count(label) > 1), None)


def describe() -> Dict[str, Any]:
    """What ``probe`` finds, as it travels."""
    sensors, missing = probe()
    found: Dict[str, Any] = {
        "sensors": [sensor.to_json() for sensor in sensors],
        "missing": [one.to_json() for one in missing],
    }
    if sysroot():
        found["sysroot"] = sysroot()
    return found


def by_name(family: str, name: str) -> Sensor:
    """The sensor of that family and name, found anew.

    Raises:
        LookupError: it is not there (any more), or there are several.
    """
    same = [s for s in probe()[0] if s.family == family and s.name == name]
    if len(same) != 1:
        raise LookupError(
            "%d sensors of family %s are called %r: probe again" % (len(same), family, name)
        )
    return same[0]
