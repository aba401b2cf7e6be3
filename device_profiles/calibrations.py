"""What step tests said of the sensors of this user's devices, kept in ``sensors.toml``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lwprof.device_profiles.config import config_folder, locked, read_toml, write_atomically
from lwprof.errors import UsageError


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sensor of one unit.

    Attributes:
        lag_s: how late a value is; ``averaging_s``: how long it is averaged;
            ``period_s``: how often it is renewed.
        measured: the day of the test, ISO 8601.
    """

    lag_s: float
    averaging_s: float
    period_s: float
    measured: str


def calibrations_path() -> Path:
    """The file that holds them."""
    return config_folder() / "sensors.toml"


def calibration(hardware_id: str, sensor: str) -> Calibration | None:
    """What is known of a sensor (``family:name``) of the unit with that id.

    Raises:
        UsageError: the file is not TOML or says what no calibration says, with the field.
    """
    return _read().get(hardware_id, {}).get(sensor)


def keep_calibration(hardware_id: str, sensor: str, found: Calibration) -> Path:
    """Stores a calibration over an older one of the same sensor.

    Raises:
        HostError: the file cannot be written.
    """
    path = calibrations_path()
    with locked(path.parent):
        known = _read()
        known.setdefault(hardware_id, {})[sensor] = found
        lines = []
        for unit, sensors in sorted(known.items()):
            for name, entry in sorted(sensors.items()):
                lines += [
                    f"[{_quoted(unit)}.{_quoted(name)}]",
                    f"lag_s = {entry.lag_s!r}",
                    f"averaging_s = {entry.averaging_s!r}",
                    f"period_s = {entry.period_s!r}",
                    f"measured = {_quoted(entry.measured)}",
                    "",
                ]
        write_atomically(path, "\n".join(lines))
    return path


def _read() -> dict[str, dict[str, Calibration]]:
    path = calibrations_path()
    if not path.exists():
        return {}
    try:
        found = msgspec.convert(read_toml(path), dict[str, dict[str, Calibration]])
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}; correct that field or remove the file") from None
    for sensors in found.values():
        for name, entry in sensors.items():
            if not (0 <= entry.lag_s < 60 and 0 <= entry.averaging_s < 60
                    and 0 < entry.period_s < 60):  # fmt: skip
                raise UsageError(f"{path}: {name}: times must lie between 0 and 60 s; remove it")
    return found


def _quoted(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in '"\\' else "_" for c in text)
    return f'"{escaped}"'
