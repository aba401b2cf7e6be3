"""A board reached by ssh: everything that is put there lies below one folder."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path

from lwprof.agents.packing import program
from lwprof.agents.targets import holding
from lwprof.agents.targets._base import Connection, Target
from lwprof.agents.targets.ssh_connection import SshConnection
from lwprof.agents.targets.ssh_keys import Ask, ask_at_terminal
from lwprof.agents.targets.ssh_link import SshLink
from lwprof.agents.targets.ssh_settings import SshSettings
from lwprof.agents.targets.ssh_survey import (
    Survey,
    explain_failed_write,
    require_usable,
    survey,
)
from lwprof.errors import DeviceError, HostError

_CHUNK = 1 << 18
# The slowest link that is worth waiting for.
_SLOWEST_BYTES_PER_S = 50_000
_LEAST_S = 60.0
_SILENCE_S = 300.0
_CLEAN_S = 120.0


class SshTarget(Target):
    """A device by ssh.

    Args:
        name: the device's name, for messages.
        settings: how to reach it.
        ask: asks a person for a passphrase.
        environment: see ``Target``.
    """

    detached = True

    def __init__(
        self,
        name: str,
        settings: SshSettings,
        *,
        ask: Ask = ask_at_terminal,
        environment: str | None = None,
    ) -> None:
        self.name = name
        self.environment = environment
        self.resume_s = settings.resume_s
        self.link = SshLink(name, settings, ask)
        self._survey: Survey | None = None
        self._session = secrets.token_hex(16)
        self._connections: list[SshConnection] = []

    def survey(self) -> Survey:
        """What the device offers, looked at once per target."""
        if self._survey is None:
            self._survey = survey(self.link)
        return self._survey

    def look_again(self) -> Survey:
        """What the device offers now."""
        self._survey = survey(self.link)
        return self._survey

    def open(self) -> Connection:
        """Starts a fresh agent; the program travels under its hash."""
        found = self.look_again()  # a reboot may have changed it
        require_usable(self.name, found)
        packed = program()
        file = f"{found.workdir}/{packed.file_name}"
        if found.program_sha256 != packed.sha256:
            self._upload(memoryview(packed.data), file)
        command = [found.python, "-I", "-u", file, "serve", "--workdir", found.workdir,
                   "--silence", str(_SILENCE_S), "--leases", self.link.settings.leases,
                   "--session", self._session, "--holder", holding.holder()]  # fmt: skip
        for dead in holding.dead_sessions(found.held):
            command += ["--supersede", dead]
        connection = SshConnection(self.link, command)
        self._connections.append(connection)
        return connection

    def push(self, source: bytes | Path, sha256: str) -> None:
        """Puts a file among the device's blobs."""
        self.put_file(source, f"{self.survey().workdir}/blobs/{sha256}")

    def put_file(self, source: bytes | Path, path: str) -> None:
        """Puts a file anywhere on the device, whole or not at all.

        Raises:
            DeviceError: no space, read-only, or the link failed (transient).
            HostError: ``source`` cannot be read.
        """
        if isinstance(source, bytes):
            self._upload(memoryview(source), path)
            return
        try:
            data = source.read_bytes()
        except OSError as error:
            raise HostError(f"cannot read {source}: {error.strerror or error}") from None
        self._upload(memoryview(data), path)

    def _upload(self, data: memoryview, target: str) -> None:
        """Writes a file whole or not at all."""
        folder = target.rpartition("/")[0]
        quoted, fresh = shlex.quote(target), shlex.quote(f"{target}.incoming-")
        script = (
            f"f={fresh}$$; trap 'rm -f \"$f\"' EXIT; mkdir -p {shlex.quote(folder)} && "
            f'cat > "$f" && [ "$(wc -c < "$f")" -eq {len(data)} ] && mv -f "$f" {quoted}'
        )
        timeout_s = _LEAST_S + len(data) / _SLOWEST_BYTES_PER_S
        done = self.link.run(script, stdin=data, timeout_s=timeout_s)
        if done.status != 0:
            raise explain_failed_write(self.name, folder, done)

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        """Content of one of the device's blobs."""
        file = shlex.quote(f"{self.survey().workdir}/blobs/{sha256}")
        timeout_s = _LEAST_S + limit_bytes / _SLOWEST_BYTES_PER_S
        # One byte more than allowed tells a file that is too large.
        done = self.link.run(f"head -c {limit_bytes + 1} < {file}", timeout_s=timeout_s,
                             most_bytes=limit_bytes + 4096)  # fmt: skip
        if done.status != 0:
            last = done.stderr.splitlines()[-1][:300] if done.stderr else done.status
            raise DeviceError(f"{self.name}: cannot read the file {sha256[:12]} ({last})")
        if len(done.stdout) > limit_bytes:
            raise DeviceError(f"{self.name}: the file {sha256[:12]} is larger than expected")
        return done.stdout

    def clean(self) -> str:
        """Removes the work folder from the device.

        Returns:
            The folder's path.

        Raises:
            DeviceError: it cannot be removed, or is none of ours.
        """
        folder = self.survey().workdir
        quoted = shlex.quote(folder)
        # Only what looks like ours: a wrongly set folder must not take a home with it.
        script = f"[ -d {quoted}/blobs ] && [ ! -e {quoted}/.ssh ] && rm -rf {quoted}"
        done = self.link.run(script, timeout_s=_CLEAN_S)
        if done.status != 0:
            why = done.stderr.splitlines()[-1][:300] if done.stderr else "it is no folder of ours"
            raise DeviceError(f"{self.name}: cannot remove {folder} ({why})")
        self._survey = None
        return folder

    def close(self) -> None:
        """Ends every agent that was started here, and the connection."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self.link.close()
