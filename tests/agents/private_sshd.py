"""A private sshd on a free port, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lwprof.agents.targets.ssh import SshTarget
from lwprof.agents.targets.ssh_settings import SshSettings

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin") or ""
PYTHON = "/usr/bin/python3"
_READY_S = 60.0


def require_sshd() -> None:
    """Skips the test where there is no sshd or no Python for its sessions."""
    if not SSHD or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd here: install openssh-server")
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} here, which the agent is run with")


@dataclass
class Sshd:
    """A running server.

    Attributes:
        folder: of its keys and configuration, readable for everybody.
        port: where it listens.
        address: where it listens.
        prefix: command that starts it elsewhere, as in a network namespace.
        user: who logs in.
        home: where that user's work folder may lie.
    """

    folder: Path
    port: int
    user: str
    home: Path
    process: subprocess.Popen[bytes] | None = None
    address: str = "127.0.0.1"
    prefix: list[str] = field(default_factory=list)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def identity(self) -> Path:
        return self.folder / "client_ed25519"

    def settings(self, **more: object) -> SshSettings:
        """Settings that reach it, without anything of the real user's."""
        chosen: dict[str, object] = {
            "host": self.address, "user": self.user, "port": self.port,
            "identity": self.identity, "known_hosts": self.known_hosts,
            "config": self.folder / "ssh_config", "python": PYTHON,
            "workdir": str(self.home / "lwprof"), "leases": str(self.home / "leases"),
            **more,
        }  # fmt: skip
        return SshSettings(**chosen)  # type: ignore[arg-type]

    def target(self, **more: object) -> SshTarget:
        """A fresh target for it; nobody is asked anything."""
        return SshTarget("board", self.settings(**more), ask=lambda question: None)

    def move(self, address: str, prefix: list[str]) -> None:
        """Lets it listen elsewhere."""
        config = self.folder / "sshd_config"
        config.write_text(config.read_text().replace(
            f"ListenAddress {self.address}", f"ListenAddress {address}"))  # fmt: skip
        text = self.known_hosts.read_text()
        self.known_hosts.write_text(text.replace(f"[{self.address}]", f"[{address}]"))
        self.address, self.prefix = address, prefix

    def signal_servers(self, number: int) -> None:
        """Sends a signal to the listener and every login's server."""
        assert self.process is not None
        for pid in (self.process.pid, *self.sessions()):
            with contextlib.suppress(OSError):
                if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, number)

    def start(self) -> None:
        """Starts it and waits until it greets."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*self.prefix, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.address, self.port), 5) as sock,
            ):
                if sock.recv(4) == b"SSH-":
                    return
            if self.process.poll() is not None:
                pytest.skip(f"sshd does not start: {(self.folder / 'log').read_text()[-300:]}")
            time.sleep(0.02)
        raise AssertionError("sshd does not become ready")

    def sessions(self) -> list[int]:
        """Processes of its logins: all its descendants."""
        return descendants(self.process.pid) if self.process else []

    def kill_sessions(self, number: int = signal.SIGKILL) -> None:
        """Ends the logins' servers at once; the programs they run see their input end."""
        for pid in self.sessions():
            with contextlib.suppress(OSError):
                if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, number)

    def stop(self) -> None:
        """Ends it and every login."""
        if self.process is None:
            return
        doomed = self.sessions()
        self.process.kill()
        for pid in doomed:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def descendants(pid: int) -> list[int]:
    """Processes below one, the nearest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def make_sshd(*, user: str | None = None, lines: tuple[str, ...] = ()) -> Sshd:
    """A server that is configured but not started; ``remove`` takes its folder away."""
    require_sshd()
    name = user or pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="lwprof-sshd-"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    if user is not None:
        shutil.chown(home, user)
    server = Sshd(folder, free_port(), name, home)
    for key in ("host_ed25519", "client_ed25519"):
        keygen("-t", "ed25519", "-N", "", "-f", str(folder / key))
    shutil.copy(folder / "client_ed25519.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o644)
    host_key = (folder / "host_ed25519.pub").read_text().split()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {host_key[0]} {host_key[1]}\n")
    (folder / "ssh_config").write_text("UserKnownHostsFile none\nGlobalKnownHostsFile none\n"
                                       "IdentityFile none\nIdentityAgent none\n")  # fmt: skip
    config = {
        "Port": str(server.port), "ListenAddress": "127.0.0.1",
        "HostKey": str(folder / "host_ed25519"),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "PidFile": str(folder / "sshd.pid"), "UsePAM": "no", "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no", "PubkeyAuthentication": "yes",
        "PermitRootLogin": "prohibit-password", "StrictModes": "no", "UseDNS": "no",
        "PrintMotd": "no", "PrintLastLog": "no", "LogLevel": "VERBOSE",
        "MaxStartups": "200", "Subsystem": "sftp internal-sftp",
        # What the real user's profile does at a login (it may wait for locks) is not ours.
        "SetEnv": f"HOME={home}",
    }  # fmt: skip
    text = "".join(f"{key} {value}\n" for key, value in config.items()) + "\n".join(lines) + "\n"
    (folder / "sshd_config").write_text(text)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return server


@contextlib.contextmanager
def running_sshd(*, user: str | None = None, lines: tuple[str, ...] = ()) -> Iterator[Sshd]:
    """A server that runs meanwhile."""
    server = make_sshd(user=user, lines=lines)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def keygen(*arguments: str) -> None:
    """Makes keys."""
    subprocess.run(["ssh-keygen", "-q", *arguments], stdin=subprocess.DEVNULL, check=True)


ORDINARY = "lwprof-test"


def ordinary_user() -> str:
    """A user without privileges; made where this process may, else the test is skipped."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ORDINARY).pw_name
    if os.geteuid() != 0 or not shutil.which("useradd"):
        pytest.skip("only root can make an ordinary user")
    commands = (["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", ORDINARY],
                ["usermod", "-p", "*", ORDINARY])  # fmt: skip
    for command in commands:
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("an ordinary user cannot be made here")
    return ORDINARY
