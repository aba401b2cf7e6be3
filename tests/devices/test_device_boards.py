"""Boards are data: ours, the user's over them, and nothing that the schema does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from lwprof.device_profiles import Cluster, boards, load_profile
from lwprof.device_profiles.boards import parse_profile, user_folder
from lwprof.errors import DeviceUnknown, UsageError

FULL = {
    "name": "b",
    "title": "Board",
    "environment": "hardware",
    "reach": {"how": ["ssh", "adb"]},
    "memory_bytes": 4 * 2**30,
    "clusters": [
        {"name": "little", "count": 4, "max_freq_hz": 1.2e9},
        {"name": "big", "count": 2, "max_freq_hz": 2.0e9, "cpus": [4, 5]},
    ],
    "rails": [{"sensor": "ina3221", "label": "VDD_IN", "includes": ["cpu", "memory"]}],
    "peaks": [{"quantity": "mac_per_s", "value": 4e10, "source": "data sheet, 2024"}],
    "limits": {"temp_c": 80.0},
}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path))
    user_folder().mkdir()
    return tmp_path


def test_every_shipped_board_is_sound() -> None:
    assert {"host", "generic_linux"} <= set(boards())
    for board in boards():
        profile = load_profile(board)
        assert profile.name == board and profile.title
        assert profile.reach.how or profile.memory_only


def test_a_full_profile_is_read() -> None:
    profile = parse_profile(FULL, Path("b.toml"), "b")
    assert profile.fastest_cluster == Cluster("big", 2, 2.0e9, (4, 5))
    assert profile.rails[0].includes == ("cpu", "memory")
    assert profile.to_json()["limits"]["temp_c"] == 80.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shell": "reboot"}, "unknown field `shell`"),
        ({"reach": {"how": ["ssh"], "command": "x"}}, r"unknown field `command` - at `\$.reach`"),
        ({"reach": {"how": ["telnet"]}}, r"Invalid enum value 'telnet'.*reach.how"),
        ({"reach": {"how": []}}, "reach.how is empty"),
        ({"environment": "dream"}, "Invalid enum value 'dream'"),
        ({"title": 7}, r"Expected `str`, got `int` - at `\$.title`"),
        ({"memory_bytes": "4GiB"}, r"Expected `int \| null`, got `str`"),
        ({"memory_bytes": 0}, "memory_bytes is not positive"),
        ({"clusters": [{"name": "a"}]}, r"missing required field `count` - at `\$.clusters"),
        ({"clusters": [{"name": "a", "count": 0}]}, "'a' has no cores"),
        ({"clusters": [{"name": "a", "count": 1, "max_freq_hz": 1500}]}, "not in hertz"),
        ({"clusters": [{"name": "a", "count": 2, "cpus": [1]}]}, "numbers 1 of 2 cores"),
        ({"peaks": [{"quantity": "flops", "value": 1.0, "source": "x"}]}, "Invalid enum value"),
        ({"peaks": [{"quantity": "mac_per_s", "value": 1.0, "source": " "}]}, "needs a positive"),
        ({"peaks": [{"quantity": "mac_per_s", "value": -1.0, "source": "x"}]}, "needs a positive"),
        ({"limits": {"temp_c": float("nan")}}, "limits.temp_c is not positive"),
        ({"name": "c"}, "make it 'b' like the file"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(change: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_profile({**FULL, **change}, Path("/boards/b.toml"), "b")
    assert str(caught.value).startswith("/boards/b.toml: ")


def test_the_users_file_wins_field_by_field() -> None:
    assert load_profile("generic_linux").limits.temp_c is None
    (user_folder() / "generic_linux.toml").write_text("limits.temp_c = 70.0\nmemory_bytes = 1024\n")
    profile = load_profile("generic_linux")
    assert (profile.limits.temp_c, profile.memory_bytes) == (70.0, 1024)
    assert profile.title == "A Linux computer" and profile.reach.how == ("ssh", "local")


def test_a_new_board_is_one_file() -> None:
    (user_folder() / "pi4.toml").write_text(
        'title = "Pi"\nenvironment = "hardware"\nreach.how = ["ssh"]\n'
    )
    assert "pi4" in boards()
    assert load_profile("pi4").name == "pi4"


@pytest.mark.parametrize(
    "board", ["nope", "../host", "/etc/passwd", "", "host.toml", "Host", "a b"]
)
def test_names_never_leave_the_folder(board: str) -> None:
    with pytest.raises(DeviceUnknown, match="one of agx_orin, .*generic_linux, host"):
        load_profile(board)


def test_a_huge_or_binary_file_is_refused() -> None:
    path = user_folder() / "big.toml"
    path.write_text("#" * 2_000_000)
    with pytest.raises(UsageError, match="too large"):
        load_profile("big")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not TOML"):
        load_profile("big")
