"""Who is let in, and whom we believe: host keys, encrypted keys, agents, refusals."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_sshd import Sshd, free_port, keygen, running_sshd

from lwprof.agents.targets.ssh import SshTarget
from lwprof.agents.targets.ssh_host_keys import (
    ChangedHostKey,
    KnownKeys,
    UnknownHostKey,
    accept,
)
from lwprof.errors import DeviceError, DeviceTransient, HostError


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


def connect(target: SshTarget) -> None:
    with target:
        assert target.link.run("echo here").stdout.strip() == b"here"


def test_an_unknown_host_is_refused_with_its_fingerprint(server: Sshd, tmp_path: Path) -> None:
    blob = base64.b64decode((server.folder / "host_ed25519.pub").read_text().split()[1])
    shown = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    with pytest.raises(UnknownHostKey, match=re.escape(f"SHA256:{shown}")) as caught:
        connect(server.target(known_hosts=tmp_path / "none"))
    assert "lwprof devices accept board" in str(caught.value)
    accepted = tmp_path / "deep" / "known_hosts"
    accept(accepted, caught.value.name, caught.value.key)
    connect(server.target(known_hosts=accepted))


def test_another_key_than_the_accepted_one_is_refused(server: Sshd, tmp_path: Path) -> None:
    keygen("-t", "ed25519", "-N", "", "-f", str(tmp_path / "other"))
    other = (tmp_path / "other.pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {other[0]} {other[1]}\n")
    with pytest.raises(ChangedHostKey, match="CHANGED") as caught:
        connect(server.target(known_hosts=known))
    accept(known, caught.value.name, caught.value.key, replace=True)
    connect(server.target(known_hosts=known))
    assert len(KnownKeys([known]).of(caught.value.name)) == 1


def test_hashed_names_and_revoked_keys_are_understood(server: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    shutil.copy(server.known_hosts, known)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], capture_output=True, check=True)
    assert "127.0.0.1" not in known.read_text()
    connect(server.target(known_hosts=known))
    key = " ".join((server.folder / "host_ed25519.pub").read_text().split()[:2])
    known.write_text(known.read_text() + f"@revoked * {key}\n")
    with pytest.raises(HostError, match="revoked"):
        connect(server.target(known_hosts=known))


def test_an_encrypted_key_is_asked_for_once_and_only_of_a_person(
    server: Sshd, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    shutil.copy(server.identity, locked)
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "a phrase", "-f", str(locked)],
                   stdin=subprocess.DEVNULL, capture_output=True, check=True)  # fmt: skip
    with pytest.raises(HostError, match="encrypted: ssh-add"):
        connect(server.target(identity=locked))
    answers = ["wrong", "a phrase"]
    target = SshTarget("board", server.settings(identity=locked),
                       ask=lambda question: answers.pop(0))  # fmt: skip
    with target:
        target.link.run("true")
        target.link.close()
        target.link.run("true")  # a lost link comes back without asking again
    assert answers == []


def test_keys_of_the_agent_are_used(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("ssh-agent"):
        pytest.skip("no ssh-agent here: install openssh-client")
    sock = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", sock)
        for _ in range(500):
            added = subprocess.run(["ssh-add", "-q", str(server.identity)], capture_output=True,
                                   check=False)  # fmt: skip
            if added.returncode == 0:
                break
        assert added.returncode == 0, added.stderr
        config = server.folder / "agent_config"
        config.write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n"
                          f"IdentityFile {tmp_path}/none\n")  # fmt: skip
        connect(server.target(identity=None, config=config))
    finally:
        agent.kill()
        agent.wait()


def test_a_key_that_is_not_let_in_is_told_with_the_remedy(server: Sshd, tmp_path: Path) -> None:
    keygen("-t", "ed25519", "-N", "", "-f", str(tmp_path / "stranger"))
    with pytest.raises(HostError, match="ssh-copy-id -p") as caught:
        connect(server.target(identity=tmp_path / "stranger"))
    assert not caught.value.transient and str(tmp_path / "stranger") in str(caught.value)


def test_what_is_no_ssh_server_ends_in_one_clear_error(server: Sshd) -> None:
    with pytest.raises(DeviceTransient, match="refuses connections"):
        connect(server.target(port=free_port()))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(DeviceTransient, match="says nothing"):
            connect(server.target(port=port, silence_s=0.5))


def test_noise_of_the_login_shell_reaches_nobody(tmp_path: Path) -> None:
    # ForceCommand stands for a profile that prints: it runs before what was asked for.
    lines = ('ForceCommand echo welcome; echo LW_BEGIN; eval "$SSH_ORIGINAL_COMMAND"',)
    with running_sshd(lines=lines) as server, server.target() as target:
        done = target.link.run("printf 'a\\000b'; echo oops >&2; exit 7")
        assert (done.status, done.stdout, done.stderr) == (7, b"a\0b", "oops")
        connection = target.open()
        assert connection.receive(30.0)[4:20].startswith(b'{"protocol"')
        connection.close()


def test_a_login_that_runs_nothing_is_told(tmp_path: Path) -> None:
    with running_sshd(lines=("ForceCommand true",)) as server, server.target() as target:
        with pytest.raises(DeviceError, match="login runs no commands") as caught:
            target.survey()
        assert not caught.value.transient


def test_places_that_cannot_be_written_are_told_before_anything_starts(server: Sshd) -> None:
    file = server.home / "in_the_way"
    file.write_text("a file")
    with server.target(workdir=str(file)) as target, pytest.raises(DeviceError, match="--workdir"):
        target.open()
    with (
        server.target(python="/no/such/python") as target,
        pytest.raises(DeviceError, match="Python 3.8 or newer"),
    ):
        target.open()


@pytest.mark.parametrize(
    ("options", "says"),
    [("size=1m", "free some space"), ("size=64m,ro", "read-only"), ("size=64m,noexec", None)],
)
def test_small_readonly_and_noexec_disks(
    server: Sshd, tmp_path: Path, options: str, says: str | None
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)],
                             capture_output=True, check=False)  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        with server.target(workdir=str(tmp_path / "work")) as target:
            if says is None:
                assert not target.survey().executes
                target.open().close()  # Python only reads its program
            else:
                with pytest.raises(DeviceError, match=says):
                    target.open()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=False)


def test_a_full_disk_is_told_and_leaves_no_half_file(server: Sshd, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        with server.target(workdir=str(tmp_path / "work")) as target:
            target.survey()
            with pytest.raises(DeviceError, match="disk .* is full"):
                target.push(bytes(30 * 2**20), "0" * 64)
            assert list((tmp_path / "work" / "blobs").iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=False)
