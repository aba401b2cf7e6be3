"""``lwprof devices``: what it lists, adds and examines, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lwprof.cli import devices as cli_devices
from lwprof.cli.main import main
from lwprof.device_profiles.check import Check

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("LWPROF_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr(cli_devices, "_LOAD_WINDOW_S", 0.02)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["devices", *arguments])
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return call


def test_a_device_is_added_and_listed(run: Run) -> None:
    code, out, err = run("add", "pi", "--board", "generic_linux", "--ssh", "me@pi.local:2200")
    assert (code, err) == (0, "") and "me@pi.local:2200" in out
    code, out, _ = run("--json", "-")
    assert code == 0
    assert json.loads(out)["devices"] == [
        {"name": "host", "board": "host", "how": "local", "address": "this machine"},
        {"name": "pi", "board": "generic_linux", "how": "ssh", "address": "me@pi.local:2200"},
    ]
    code, out, _ = run()
    assert code == 0 and "pi.local" in out
    code, out, _ = run("show", "generic_linux", "--json", "-")
    assert code == 0 and json.loads(out)["name"] == "pi"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "pi", "--board", "generic_linux"], "either --ssh"),
        (["add", "pi", "--board", "generic_linux", "--ssh", "a@b", "--adb", "c"], "either --ssh"),
        (["add", "pi", "--board", "pi99", "--ssh", "a@b"], "no board is called 'pi99'"),
        (["add", "pi", "--board", "generic_linux", "--adb", "c"], "not adb"),
        (["add", "host", "--board", "generic_linux", "--ssh", "a@b"], "always this machine"),
        (["add", "pi", "--board", "generic_linux", "--ssh", "-v@b"], "cannot read"),
        (["show", "hsot"], "did you mean 'host'"),
        (["doctor", "nobody"], "lwprof devices add nobody"),
        (["--json", "-", "show", "host"], "put --json behind 'show'"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(run: Run, arguments: list[str], says: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert says in err and err.startswith("lwprof: ") and err.count("\n") == 1


def test_the_host_is_shown_with_what_was_found_out(run: Run) -> None:
    code, out, _ = run("show", "host", "--json", "-")
    profile = json.loads(out)["profile"]
    assert code == 0 and sum(cluster["count"] for cluster in profile["clusters"]) >= 1
    assert profile["memory_bytes"] > 2**20


def test_doctor_examines_this_machine(run: Run) -> None:
    code, out, _ = run("doctor", "host", "--json", "-")
    data = json.loads(out)
    assert data["schema"] == "lwprof.doctor/1"
    assert code == (0 if data["ready"] else 1)
    by_name = {check["name"]: check for check in data["checks"]}
    assert by_name["ONNX Runtime"]["status"] == "ok"
    assert by_name["store"]["status"] == "ok" and "none yet" in by_name["store"]["found"]
    assert all(check["advice"] for check in data["checks"] if check["status"] != "ok")
    assert "how to mend it" in run("doctor", "host")[1]


def test_a_damaged_store_blocks_measuring(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 99)
    code, out, _ = run("doctor", "host")
    assert code == 1 and "fail" in out


def test_doctor_exits_1_when_something_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lwprof.device_profiles.doctor.examine", lambda *_: [Check("clock", "fail", "x", "y")]
    )
    assert run("doctor", "host")[0] == 1


def test_doctor_says_why_a_device_cannot_be_reached(run: Run) -> None:
    run("add", "pi", "--board", "generic_linux", "--ssh", "me@127.0.0.1:1")
    code, out, _ = run("doctor", "pi", "--json", "-")
    check = json.loads(out)["checks"][0]
    assert code == 1 and check["name"] == "reach" and "refuses connections" in check["found"]


def test_a_device_is_removed_by_name_only(run: Run) -> None:
    run("add", "pi", "--board", "generic_linux", "--ssh", "me@pi.local", "--jump", "gate:2222")
    run("add", "other", "--board", "generic_linux", "--ssh", "me@other.local")
    assert run("remove", "generic_linux")[0] == 2
    assert run("remove", "pi")[0] == 0
    _, out, _ = run("--json", "-")
    assert [device["name"] for device in json.loads(out)["devices"]] == ["host", "other"]
    assert run("remove", "pi")[0] == 2


def test_host_keys_belong_to_ssh(run: Run) -> None:
    code, _, err = run("accept", "host")
    assert code == 2 and "not reached by ssh" in err
    code, _, err = run("clean", "host")
    assert code == 2 and "this machine" in err
