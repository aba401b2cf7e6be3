"""``lwprof devices`` against a real server: keys are shown and accepted, boards asked, cleaned."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from private_sshd import PYTHON, Sshd, keygen, running_sshd

from lwprof.cli.main import main
from lwprof.device_profiles import find_device, load_profile

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("LWPROF_STORE", str(tmp_path / "store.db"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["devices", *arguments])
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    return call


def fingerprint(text: str) -> str:
    return next(word.strip("(),:;'") for word in text.split() if "SHA256:" in word)[-50:]


def address(server: Sshd) -> list[str]:
    return ["--ssh", f"{server.user}@127.0.0.1:{server.port}", "--identity", str(server.identity),
            "--workdir", str(server.home / "cli"), "--python", PYTHON]  # fmt: skip


def test_a_board_is_added_asked_and_cleaned(run: Run, server: Sshd) -> None:
    code, out, err = run("add", "Lab-Box", *address(server))
    assert code == 1 and out == "" and "unknown" in err and err.count("\n") == 1
    shown = fingerprint(err)
    code, out, err = run("add", "Lab-Box", *address(server), "--accept", "SHA256:" + "A" * 43)
    assert code == 1 and "nothing was accepted" in err
    code, out, err = run("add", "Lab-Box", *address(server), "--accept", shown)
    assert code == 0, err
    # No profile of ours describes this machine, so one was written from what it says.
    device = find_device("Lab-Box")
    assert device.board == "lab_box" and device.workdir == str(server.home / "cli")
    assert sum(cluster.count for cluster in load_profile("lab_box").clusters) >= 1
    code, out, _ = run("show", "Lab-Box", "--json", "-")
    assert code == 0 and json.loads(out)["profile"]["memory_bytes"] > 2**20
    assert (server.home / "cli" / "blobs").is_dir()
    code, out, _ = run("clean", "Lab-Box")
    assert code == 0 and not (server.home / "cli").exists()


def test_a_changed_host_key_is_refused_until_it_is_replaced(run: Run) -> None:
    with running_sshd() as server:
        run("add", "box", "--board", "generic_linux", *address(server))
        code, _, err = run("accept", "box")
        assert code == 1 and "nothing was accepted" in err
        assert run("accept", "box", fingerprint(err))[0] == 0
        assert run("accept", "box")[0] == 0
        server.stop()
        for suffix in ("", ".pub"):
            (server.folder / f"host_ed25519{suffix}").unlink()
        keygen("-t", "ed25519", "-N", "", "-f", str(server.folder / "host_ed25519"))
        server.start()
        code, _, err = run("accept", "box")
        assert code == 1 and "CHANGED" in err
        fresh = err.split("CHANGED to ssh-ed25519 ")[1].split()[0]
        assert run("accept", "box", fresh)[0] == 1
        assert run("accept", "box", fresh, "--replace")[0] == 0
        assert run("accept", "box")[0] == 0


def test_doctor_names_what_is_missing_and_installs_it_without_internet(
    run: Run, server: Sshd, tmp_path: Path
) -> None:
    python = shutil.which(sys.executable) or sys.executable
    where = address(server)
    where[-1] = getattr(sys, "_base_executable", python)  # without what the tests have
    # As a user would add a board whose interpreter is found by itself: the private
    # environment of the work folder is preferred as soon as it is there.
    run("add", "bare", "--board", "generic_linux", *where[:-2])
    _, _, err = run("accept", "bare")
    run("accept", "bare", fingerprint(err))
    code, out, _ = run("doctor", "bare", "--json", "-")
    by_name = {check["name"]: check for check in json.loads(out)["checks"]}
    assert by_name["reach"]["status"] == "ok" and by_name["Python"]["status"] == "ok"
    if by_name["ONNX Runtime"]["status"] == "ok":
        pytest.skip("the system's python3 has ONNX Runtime")
    assert code == 1 and "--install" in by_name["ONNX Runtime"]["advice"]
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, source in (("numpy", ""), ("onnxruntime", ORT)):
        wheel(wheels, name, source)
    pip = next(Path(shutil.__file__).parent.glob("ensurepip/_bundled/pip-*.whl"), None)
    if pip is None:
        pytest.skip("no wheel of pip here to carry along")
    shutil.copy(pip, wheels)
    code, out, err = run("doctor", "bare", "--install", "--wheels", str(wheels), "--json", "-")
    by_name = {check["name"]: check for check in json.loads(out)["checks"]}
    assert by_name["ONNX Runtime"]["found"].startswith("9.9"), err
    assert (server.home / "cli" / "venv").is_dir()
    assert run("clean", "bare")[0] == 0


ORT = """__version__ = "9.9"
def get_available_providers():
    return ["CPUExecutionProvider"]
"""


def wheel(folder: Path, name: str, source: str) -> None:
    """A wheel with one module, as pip accepts it."""
    info = f"{name}-9.9.dist-info"
    with zipfile.ZipFile(folder / f"{name}-9.9-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                         "Tag: py3-none-any\n")  # fmt: skip
        archive.writestr(f"{info}/RECORD", "")
