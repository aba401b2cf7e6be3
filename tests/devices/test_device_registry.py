"""The registry finds what the contract says, and refuses what could do harm."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwprof.device_profiles import (
    Device,
    adb_device,
    add_device,
    devices,
    find_device,
    host_device,
    registry_path,
    ssh_device,
)
from lwprof.errors import DeviceUnknown, UsageError

PI4 = """
title = "Raspberry Pi 4"
environment = "hardware"
reach.how = ["ssh"]
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path / "config"))
    folder = tmp_path / "config" / "boards"
    folder.mkdir(parents=True)
    (folder / "pi4.toml").write_text(PI4)
    return folder.parent


def test_the_host_is_always_there() -> None:
    assert devices() == [host_device()]
    assert find_device("host") == Device("host", "host", "local")


def test_a_name_wins_over_a_board_and_a_lone_board_is_enough() -> None:
    add_device(ssh_device("shelf", "pi4", "pi@shelf.local"))
    assert find_device("pi4").name == "shelf"
    add_device(ssh_device("desk", "pi4", "pi@10.0.0.7:2222"))
    with pytest.raises(DeviceUnknown, match="several .* shelf, desk"):
        find_device("pi4")
    add_device(ssh_device("pi4", "generic_linux", "me@[fe80::1]:22"))
    assert find_device("pi4").board == "generic_linux"
    assert find_device("desk") == Device("desk", "pi4", "ssh", "pi", "10.0.0.7", 2222)
    assert [device.name for device in devices()] == ["host", "shelf", "desk", "pi4"]


def test_an_unknown_device_is_told_how_to_be_added() -> None:
    with pytest.raises(DeviceUnknown, match="lwprof devices add NAME --board pi4 --ssh") as caught:
        find_device("pi4")
    assert caught.value.exit_code == 2
    add_device(ssh_device("shelf", "pi4", "pi@shelf.local"))
    with pytest.raises(DeviceUnknown, match="did you mean 'shelf'"):
        find_device("shelv")
    with pytest.raises(DeviceUnknown, match="lwprof devices add tpu9 --board BOARD"):
        find_device("tpu9")
    # Nothing of a name that is none gets into a command to copy.
    with pytest.raises(DeviceUnknown, match="'lwprof devices add NAME --board BOARD"):
        find_device("x; rm -rf ~")


def test_what_was_written_by_hand_stays(config: Path) -> None:
    text = '# my boards\n[devices.old]\nboard = "pi4"   # in the cellar\nssh = "pi@old"\n'
    registry_path().write_text(text)
    add_device(ssh_device("new", "pi4", "pi@new"))
    written = registry_path().read_text()
    assert written.startswith(text.rstrip())
    assert [device.name for device in devices()] == ["host", "old", "new"]
    assert sorted(path.name for path in config.iterdir()) == ["boards", "devices.toml"]


@pytest.mark.parametrize(
    "address",
    [
        "@host",
        "user@",
        "-oProxyCommand=x@host",
        "user@-oProxyCommand=x",
        "user@host:0",
        "user@host:99999",
        "user@host:22:23",
        "user@ho st",
        "user@host\n",
        'user@host"',
        "us er@host",
        "user@[::1",
        "user@[host",
        "user@$(reboot)",
        "usér@host",
    ],
)
def test_addresses_that_ssh_could_misread_are_refused(address: str) -> None:
    with pytest.raises(UsageError):
        ssh_device("x", "pi4", address)


@pytest.mark.parametrize("serial", ["", "-s", "a b", "a\n", "x;y", 'a"'])
def test_serials_that_adb_could_misread_are_refused(serial: str) -> None:
    with pytest.raises(UsageError):
        adb_device("x", "pi4", serial)


@given(st.text(max_size=40))
def test_no_address_gets_an_option_or_blank_through(address: str) -> None:
    try:
        device = ssh_device("x", "pi4", address)
    except UsageError:
        return
    assert device.host and device.user != ""
    for part in (device.user or "root", device.host):
        assert not part.startswith("-") and part.isascii() and part.isprintable()
        assert not set(part) & set(" \"'\\;&|$`<>(){}@")
    assert ssh_device("x", "pi4", device.address) == device


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "../x", "host", "ü", "a\n", 'a"b', "a]"])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        add_device(ssh_device(name, "pi4", "pi@x"))
    assert not registry_path().exists()


def test_a_name_is_given_once() -> None:
    add_device(ssh_device("shelf", "pi4", "pi@one"))
    before = registry_path().read_bytes()
    with pytest.raises(UsageError, match="called 'shelf' already"):
        add_device(ssh_device("shelf", "pi4", "pi@two"))
    assert registry_path().read_bytes() == before


def test_a_board_is_only_reached_the_way_it_can_be() -> None:
    with pytest.raises(UsageError, match="reached by ssh, not adb"):
        add_device(adb_device("phone", "pi4", "R58M"))
    with pytest.raises(DeviceUnknown, match="no board is called 'pi9': one of .*pi4"):
        add_device(ssh_device("x", "pi9", "pi@x"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("devices = 1", r"Expected `object`.*\$.devices"),
        ('[devices.x]\nssh = "a@b"', "missing required field `board`"),
        ('[devices.x]\nboard = "pi4"', "needs either ssh or adb"),
        ('[devices.x]\nboard = "pi4"\nssh = "a@b"\nadb = "c"', "needs either ssh or adb"),
        ('[devices.x]\nboard = "pi4"\nssh = "no:body:x"', "devices.x: cannot read 'no:body:x'"),
        ('[devices.x]\nboard = "pi4"\nshh = "a@b"', "unknown field `shh`"),
        ('[device.x]\nboard = "pi4"', "unknown field `device`"),
        ('[devices."-x"]\nboard = "pi4"\nssh = "a@b"', "'-x' cannot be a device's name"),
        ('[devices.host]\nboard = "pi4"\nssh = "a@b"', "cannot be a device's name"),
        ("[devices", "not TOML"),
    ],
)
def test_a_broken_registry_says_which_field(text: str, says: str) -> None:
    registry_path().write_text(text)
    for use in (devices, lambda: add_device(ssh_device("new", "pi4", "pi@new"))):
        with pytest.raises(UsageError, match=says) as caught:
            use()
        assert str(registry_path()) in str(caught.value)
    assert registry_path().read_text() == text


def _add(number: int) -> None:
    add_device(ssh_device(f"unit{number}", "pi4", f"pi@unit{number}"))


def test_adding_at_once_loses_none() -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.map(_add, range(9), chunksize=1)
    assert {device.name for device in devices()} == {"host", *(f"unit{n}" for n in range(9))}
