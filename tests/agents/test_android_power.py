"""Power rails as perfetto writes them: exact joules, or a refusal."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_world import NativeTarget

from lwprof.agents.targets.android_power import parse, record
from lwprof.errors import DeviceError

Value = int | str | bytes


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, Value]) -> bytes:
    """Protocol buffers, written independently of the reader."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def described(index: int, name: str, subsystem: str = "cpu", rate: int = 1023) -> bytes:
    return message((1, message((1, index), (2, name), (3, subsystem), (4, rate))))


def energy(index: int, t_ms: int, microjoules: int) -> bytes:
    return message((2, message((1, index), (2, t_ms), (3, microjoules))))


def packet(rails: bytes = b"", battery: bytes = b"", t_ns: int = 0) -> bytes:
    fields: list[tuple[int, Value]] = [(8, t_ns), (10, 77), (58, 6)]
    fields += [(40, rails)] if rails else []
    fields += [(38, battery)] if battery else []
    return message((1, message(*fields)))


TRACE = (
    packet(described(0, "S2M_VDD_CPUCL2") + described(1, "L2S_VDD_AOC", "aoc", 100))
    + packet(energy(0, 1000, 5_000_000) + energy(1, 1000, 0))
    + packet(energy(0, 2000, 7_000_000) + energy(1, 2000, 1))
    + packet(energy(0, 4000, 8_000_000) + energy(1, 4000, 1))
    + packet(battery=message((1, 2_500_000), (3, -350_000)), t_ns=3_500_000_000)
)


def test_rails_and_battery_are_read() -> None:
    trace = parse(TRACE, "pixel")
    assert set(trace.rails) == {"S2M_VDD_CPUCL2", "L2S_VDD_AOC"}
    assert trace.subsystems["L2S_VDD_AOC"] == "aoc" and trace.rates_hz["L2S_VDD_AOC"] == 100
    assert [(r.t_s, r.energy_j) for r in trace.rails["S2M_VDD_CPUCL2"]] == [(1, 5), (2, 7), (4, 8)]
    (battery,) = trace.battery
    assert battery.current_a == pytest.approx(-0.35)
    assert battery.charge_c == pytest.approx(9000.0)  # 2.5 Ah
    assert battery.t_s == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("start", "end", "joules"), [(1, 4, 3), (1, 2, 2), (1.5, 3, 1.5), (2, 4, 1), (3, 3, 0)]
)
def test_energy_between_moments(start: float, end: float, joules: float) -> None:
    assert parse(TRACE, "x").energy_j("S2M_VDD_CPUCL2", start, end) == pytest.approx(joules)


@pytest.mark.parametrize(("rail", "start", "end"), [("none", 1, 2), ("L2S_VDD_AOC", 0, 2),
                                                    ("L2S_VDD_AOC", 1, 5), ("L2S_VDD_AOC", 3, 2)])  # fmt: skip
def test_what_was_not_recorded_is_refused(rail: str, start: float, end: float) -> None:
    with pytest.raises(DeviceError, match="not recorded"):
        parse(TRACE, "x").energy_j(rail, start, end)


def test_rails_of_one_name_stay_apart_and_nameless_ones_are_kept() -> None:
    trace = parse(packet(described(0, "VDD") + described(1, "VDD") + energy(0, 1, 1)
                         + energy(1, 1, 2) + energy(7, 1, 3)), "x")  # fmt: skip
    assert {name: rail[0].energy_j for name, rail in trace.rails.items()} == {
        "VDD": 1e-6, "VDD (1)": 2e-6, "rail 7": 3e-6,
    }  # fmt: skip


def test_energy_that_goes_backwards_is_refused() -> None:
    with pytest.raises(DeviceError, match="backwards"):
        parse(packet(energy(0, 1, 10) + energy(0, 2, 9)), "x")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TRACE) - 1), st.integers(0, 255), st.integers(0, len(TRACE)))
def test_damage_ends_in_numbers_or_a_refusal(place: int, byte: int, length: int) -> None:
    data = bytearray(TRACE)
    data[place] = byte
    try:
        trace = parse(bytes(data[:length]), "x")
    except DeviceError:
        return
    for readings in trace.rails.values():
        assert all(math.isfinite(r.energy_j) and r.energy_j >= 0 for r in readings)


def test_a_recording_is_asked_for_read_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lwprof.agents.targets.android_power._FOLDER", str(tmp_path))
    (tmp_path / "trace").write_bytes(TRACE)
    program = tmp_path / "perfetto"
    program.write_text(
        f"#!/bin/sh\ncat > {tmp_path}/config\nwhile [ $# -gt 1 ]; do shift; done\n"
        f'cp {tmp_path}/trace "$1"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with NativeTarget(tmp_path, "x86_64") as target:
        trace = record(target, 0.5, 0.01)
    assert trace.energy_j("S2M_VDD_CPUCL2", 1, 4) == pytest.approx(3)
    config = (tmp_path / "config").read_text()
    assert "duration_ms: 500" in config and "battery_poll_ms: 250" in config
    assert not list(tmp_path.glob("*.pftrace"))


def test_a_phone_without_perfetto_is_told_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with NativeTarget(tmp_path, "x86_64") as target, pytest.raises(DeviceError, match="Android 10"):
        record(target, 0.1)
