"""Programs of our own on a board that is reached by ssh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lwprof.agents.targets._base import Connection
from lwprof.agents.targets._carrier import Carrier, Ran
from lwprof.agents.targets.ssh import SshTarget
from lwprof.agents.targets.ssh_connection import SshConnection
from lwprof.errors import DeviceError

_INSTALL_S = 300.0


class SshCarrier(Carrier):
    """An ssh target, with what native programs need besides.

    Args:
        target: reaches the board; it stays the caller's to close.
    """

    def __init__(self, target: SshTarget) -> None:
        self.name = target.name
        self.environment = target.environment
        self._target = target
        self._connections: list[Connection] = []

    @property
    def workdir(self) -> str:
        """The folder on the board."""
        return self._target.survey().workdir

    @property
    def python(self) -> str | None:
        """The board's interpreter; None without one."""
        return self._target.survey().python

    def open(self) -> Connection:
        """Starts the ordinary agent."""
        return self._target.open()

    def push(self, source: bytes | Path, sha256: str) -> None:
        """Puts a file among the blobs, unless it is there."""
        if self.run(["test", "-f", f"{self.workdir}/blobs/{sha256}"]).status != 0:
            self._target.push(source, sha256)

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        """Content of a blob."""
        return self._target.pull(sha256, limit_bytes)

    def run(self, argv: Sequence[str], timeout_s: float = 30.0) -> Ran:
        """Runs a command on the board to its end; see ``Carrier``."""
        done = self._target.link.run(shlex.join(argv), timeout_s=timeout_s)
        return Ran(done.status, done.stdout, done.stderr.encode())

    def start(self, argv: Sequence[str]) -> Connection:
        """Starts a program on the board; see ``Carrier``."""
        connection = SshConnection(self._target.link, list(argv))
        self._connections.append(connection)
        return connection

    def install(self, data: bytes, file_name: str) -> str:
        """Puts a program on the board; see ``Carrier``."""
        path = f"{self.workdir}/bin/{file_name}"
        if self.run(["test", "-x", path]).status == 0:
            return path
        file, part = shlex.quote(path), shlex.quote(f"{path}.part")
        script = (
            f"mkdir -p {shlex.quote(path.rpartition('/')[0])} && cat > {part} && "
            f"chmod 755 {part} && mv -f {part} {file}"
        )
        done = self._target.link.run(script, stdin=data, timeout_s=_INSTALL_S)
        if done.status != 0:
            raise DeviceError(
                f"{self.name}: cannot write {path}: {done.stderr}; free space on the board"
            )
        return path

    def close(self) -> None:
        """Ends every program that was started here; the target stays open."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
