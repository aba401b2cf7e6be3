"""The local target keeps the contract that every target keeps."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lwprof.agents import LocalTarget, open_target
from lwprof.agents.targets import conformance, default_workdir
from lwprof.device_profiles import host_device, ssh_device
from lwprof.errors import DeviceError


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Callable[[conformance.Make], None], workdir: Path) -> None:
    check(lambda: LocalTarget(workdir=workdir))


def test_conformance_suite_finds_a_target_that_corrupts_files(tmp_path: Path) -> None:
    class Corrupting(LocalTarget):
        def pull(self, sha256: str, limit_bytes: int) -> bytes:
            return super().pull(sha256, limit_bytes).replace(b"\r\n", b"\n")

    with pytest.raises(AssertionError):
        conformance.files_come_back_as_they_went(lambda: Corrupting(workdir=tmp_path))


def test_cache_drops_old_models_first_and_keeps_recent_ones(tmp_path: Path) -> None:
    target = LocalTarget(workdir=tmp_path, cache_bytes=3000)
    hashes = []
    for age, letter in enumerate((b"a", b"b", b"c")):
        sha = hashlib.sha256(letter * 1000).hexdigest()
        target.push(letter * 1000, sha)
        old = time.time() - 10 * 86400 + age
        os.utime(tmp_path / "blobs" / sha, (old, old))
        hashes.append(sha)
    target.push(b"d" * 1500, hashlib.sha256(b"d" * 1500).hexdigest())
    left = {path.name for path in (tmp_path / "blobs").iterdir()}
    assert hashes[0] not in left and hashes[1] not in left
    assert hashes[2] in left
    # What was used a moment ago stays, whatever the limit says.
    os.utime(tmp_path / "blobs" / hashes[2])
    target.push(b"e" * 2900, hashlib.sha256(b"e" * 2900).hexdigest())
    assert (tmp_path / "blobs" / hashes[2]).exists()


def test_a_changed_original_does_not_change_the_cached_model(tmp_path: Path) -> None:
    original = tmp_path / "m.onnx"
    original.write_bytes(b"first")
    sha = hashlib.sha256(b"first").hexdigest()
    target = LocalTarget(workdir=tmp_path / "work")
    target.push(original, sha)
    with original.open("r+b") as file:
        file.write(b"other")
    assert target.pull(sha, 5) == b"first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DeviceError, match="LWPROF_CACHE"):
        LocalTarget(workdir=tmp_path / "work").open()


def test_a_file_in_the_folders_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(DeviceError, match="LWPROF_CACHE"):
        LocalTarget(workdir=tmp_path / "work").open()


def test_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="/no/such/python"):
        LocalTarget(workdir=tmp_path, python="/no/such/python").open()


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWPROF_CACHE", "/somewhere/else")
    assert default_workdir() == Path("/somewhere/else/agent")


def test_devices_open_by_how_they_are_reached() -> None:
    assert isinstance(open_target(host_device()), LocalTarget)
    # Nothing is contacted before it is used.
    assert open_target(ssh_device("pi", "pi4", "pi@192.0.2.1")).detached
