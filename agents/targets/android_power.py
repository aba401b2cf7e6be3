"""Power rails and battery of a phone, by ``perfetto`` over adb: no root, nothing installed.

The source ``android.power`` (Android 10 and newer) publishes what the phone's power monitors
have accumulated: microwatt-seconds since the boot for each rail, stamped with milliseconds
of CLOCK_BOOTTIME, where the maker offers it (Pixel 6 and newer do). The trace is protocol
buffers (AOSP ``external/perfetto``: trace_packet.proto, power_rails.proto,
battery_counters.proto), of which a few fields are read here.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lwprof.agents.reading import clean
from lwprof.agents.targets._carrier import Carrier
from lwprof.errors import DeviceError

# The only folder that both perfetto and adb's user may use.
_FOLDER = "/data/misc/perfetto-traces"
_CONFIG = """duration_ms: {ms}
buffers {{ size_kb: 4096 fill_policy: DISCARD }}
data_sources {{ config {{ name: "android.power" android_power_config {{
  battery_poll_ms: {period} battery_counters: BATTERY_COUNTER_CHARGE
  battery_counters: BATTERY_COUNTER_CURRENT collect_power_rails: true
}} }} }}
"""
_GRACE_S = 30.0
_PACKET, _TIMESTAMP, _BATTERY, _RAILS = 1, 8, 38, 40
_DESCRIPTOR, _ENERGY = 1, 2
_MOST_RAILS = 256


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rail has used since some moment.

    Attributes:
        t_s: seconds of CLOCK_BOOTTIME: the monotonic clock, and time asleep.
        energy_j: accumulated.
    """

    t_s: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class BatteryReading:
    """Attributes: ``current_a`` is positive or negative while charging, as the maker likes."""

    t_s: float
    current_a: float | None
    charge_c: float | None


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """A recording.

    Attributes:
        rails: readings in order of time, by rail; empty where the phone has no monitors.
        subsystems: which part of the phone each rail feeds, where it says so.
        rates_hz: how often the hardware samples, where it says so.
    """

    rails: Mapping[str, tuple[Reading, ...]]
    subsystems: Mapping[str, str]
    rates_hz: Mapping[str, int]
    battery: tuple[BatteryReading, ...]

    def energy_j(self, rail: str, start_s: float, end_s: float) -> float:
        """Joules of a rail between two moments of CLOCK_BOOTTIME.

        Between readings power is taken as constant: at each end the value is uncertain by
        what lies between the two readings around it.

        Raises:
            DeviceError: no such rail, or the recording does not span the moments.
        """
        readings = self.rails.get(rail, ())
        if not readings or not readings[0].t_s <= start_s <= end_s <= readings[-1].t_s:
            raise DeviceError(f"the rail {rail!r} was not recorded throughout the measurement")
        return _at(readings, end_s) - _at(readings, start_s)


def record(carrier: Carrier, seconds: float, period_s: float = 0.25) -> PowerTrace:
    """Records what the phone's monitors publish.

    Args:
        carrier: reaches the phone.
        seconds: how long; this waits for it.
        period_s: between two readings; 0.25 s is as often as phones allow.

    Raises:
        DeviceError: no perfetto there, or it refuses; the message says why.
    """
    file = f"{_FOLDER}/lwprof-{uuid.uuid4().hex[:12]}.pftrace"
    config = _CONFIG.format(ms=round(seconds * 1000), period=max(250, round(period_s * 1000)))
    script = f'printf %s "$1" | perfetto --txt -c - -o {file}'
    done = carrier.run(["sh", "-c", script, "sh", config], seconds + _GRACE_S)
    try:
        if done.status != 0:
            why = clean(" ".join((done.stderr or done.stdout).decode("utf-8", "replace").split()))
            raise DeviceError(
                f"{carrier.name}: perfetto does not record power ({why[-200:]}): Android 10 or "
                f"newer is needed; before Android 12 run setprop persist.traced.enable 1 first"
            )
        read = carrier.run(["cat", file], _GRACE_S)
    finally:
        carrier.run(["rm", "-f", file])
    if read.status != 0:
        raise DeviceError(f"{carrier.name}: perfetto's recording cannot be read")
    return parse(read.stdout, carrier.name)


def parse(data: bytes, device: str) -> PowerTrace:
    """A trace as perfetto writes it.

    Raises:
        DeviceError: it is damaged, or a rail's energy decreases.
    """
    names: dict[int, str] = {}
    subsystems: dict[str, str] = {}
    rates: dict[str, int] = {}
    energies: dict[int, list[Reading]] = {}
    battery: list[BatteryReading] = []
    try:
        for number, packet in _fields(data):
            if number != _PACKET or not isinstance(packet, bytes):
                continue
            fields = list(_fields(packet))
            stamp = next((v for n, v in fields if n == _TIMESTAMP and isinstance(v, int)), 0)
            for kind, value in fields:
                if kind == _RAILS and isinstance(value, bytes):
                    _rails(value, names, subsystems, rates, energies)
                elif kind == _BATTERY and isinstance(value, bytes):
                    battery.append(_battery(value, stamp * 1e-9))
    except (IndexError, ValueError):
        raise DeviceError(f"{device}: perfetto's recording is damaged; record again") from None
    rails = {names.get(index, f"rail {index}"): tuple(sorted(found, key=lambda r: r.t_s))
             for index, found in energies.items()}  # fmt: skip
    for rail, readings in rails.items():
        if any(b.energy_j < a.energy_j for a, b in itertools.pairwise(readings)):
            raise DeviceError(f"{device}: the energy of the rail {rail} went backwards")
    return PowerTrace(rails, subsystems, rates, tuple(battery))


def _rails(
    data: bytes,
    names: dict[int, str],
    subsystems: dict[str, str],
    rates: dict[str, int],
    energies: dict[int, list[Reading]],
) -> None:
    for kind, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        fields = dict(_fields(value))
        index = _number(fields.get(1, 0))
        if kind == _DESCRIPTOR:
            name = clean(_text(fields.get(2, b""))) or f"rail {index}"
            # Two rails of one name would add their energies in silence.
            names[index] = name if name not in names.values() else f"{name} ({index})"
            if fields.get(3):
                subsystems[names[index]] = clean(_text(fields[3]))
            if fields.get(4):
                rates[names[index]] = _number(fields[4])
        elif kind == _ENERGY:
            if index not in energies and len(energies) >= _MOST_RAILS:
                raise ValueError("too many rails")
            reading = Reading(_number(fields.get(2, 0)) * 1e-3, _number(fields.get(3, 0)) * 1e-6)
            energies.setdefault(index, []).append(reading)


def _battery(data: bytes, t_s: float) -> BatteryReading:
    fields = dict(_fields(data))
    charge, current = fields.get(1), fields.get(3)
    return BatteryReading(
        t_s,
        None if current is None else _signed(_number(current)) * 1e-6,
        None if charge is None else _signed(_number(charge)) * 3600e-6,
    )


def _at(readings: tuple[Reading, ...], t_s: float) -> float:
    for before, after in itertools.pairwise(readings):
        if before.t_s <= t_s <= after.t_s:
            span = after.t_s - before.t_s
            share = (t_s - before.t_s) / span if span > 0 else 0.0
            return before.energy_j + share * (after.energy_j - before.energy_j)
    return readings[0].energy_j


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number and value.

    Raises:
        IndexError, ValueError: it is cut short, or no message.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"no such kind of field: {kind}")
        if at + size > len(data):
            raise IndexError("a field is cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError("a number is too long")


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a number is due")  # noqa: TRY004 - the data is wrong, not the call
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: int | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
