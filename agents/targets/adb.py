"""A phone or board reached by adb, over USB or the network.

All that is written there lies below one folder, which ``clean`` removes. The agent runs
where the device has Python; programs of our own (see ``lwprof.agents.native``) run
anywhere.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lwprof.agents.packing import program
from lwprof.agents.targets._base import Connection
from lwprof.agents.targets._carrier import Carrier, Ran
from lwprof.agents.targets.adb_client import AdbClient, Finished
from lwprof.agents.targets.adb_connection import AdbConnection
from lwprof.errors import DeviceError, DeviceTransient, HostError, LwprofError

# The one place that adb's user may write to and execute from on every Android.
WORKDIR = "/data/local/tmp/lwprof"

_ASK_S = 30.0
_PROBE_S = 2.5
# The slowest link that is worth waiting for: Wi-Fi through two walls.
_SLOWEST_BYTES_PER_S = 200_000
_SILENCE_S = 1800.0
_END = re.compile(rb"\r?\nLW_END:(\d+)\r?\n\Z")
_LASTING = ("No space left", "Read-only file system", "Permission denied", "Not a directory")


class AdbTarget(Carrier):
    """A device of the adb server.

    Args:
        name: for messages.
        serial: USB serial or ``address:port``; None takes the only one there is.
        client: the adb client; default: the one that is found on this machine.
        workdir: the folder on the device.
        python: its interpreter, where it has one.
        environment: see ``Target``.
    """

    def __init__(
        self,
        name: str,
        serial: str | None = None,
        *,
        client: AdbClient | None = None,
        workdir: str = WORKDIR,
        python: str = "python3",
        environment: str | None = None,
    ) -> None:
        self.name = name
        self._workdir = workdir.rstrip("/")
        self.environment = environment
        self._serial = serial
        self.python = python
        self._client = client
        self._found: str | None = None
        self._made: set[str] = set()
        self._connections: list[Connection] = []

    @property
    def serial(self) -> str:
        """Serial of the device, which is looked for, and connected to, at first use.

        Raises:
            HostError: no adb client.
            DeviceError: absent, unauthorised or offline, and what to do about it.
        """
        if self._found is None:
            self._found = self.client.usable(self._serial).serial
        return self._found

    @property
    def workdir(self) -> str:
        """The folder on the device."""
        return self._workdir

    @property
    def client(self) -> AdbClient:
        """The adb client."""
        if self._client is None:
            self._client = AdbClient()
        return self._client

    def run(self, argv: Sequence[str], timeout_s: float = _ASK_S) -> Ran:
        """Runs a command on the device to its end; see ``Carrier``."""
        # A command that ends the shell itself, or a lost link, leaves no end marker.
        line = f"{shlex.join(argv)}; printf '\\nLW_END:%d\\n' $?"
        done = self._adb(["shell", line], timeout_s)
        end = _END.search(done.stdout)
        if end is None:
            self._lost(done)
        return Ran(int(end[1]), done.stdout[: end.start()], done.stderr)

    def alive(self) -> bool:
        """Whether the device answers within 2.5 s. Starts no process there."""
        try:
            asked = ["-s", self.serial, "ls", "/proc/self/absent"]
            return self.client.call(asked, _PROBE_S).status == 0
        except LwprofError:
            return False

    def open(self) -> Connection:
        """Starts a fresh agent with the device's Python."""
        packed = program()
        file = f"{self.workdir}/{packed.file_name}"
        self._folder("blobs")
        if self.run(["test", "-f", file]).status != 0:
            self._write(packed.data, file)
        found = self.run([self.python, "-c", "print(1)"])
        if found.status != 0:
            raise DeviceError(
                f"{self.name}: {self.python} does not run there, so the ordinary agent cannot: "
                f"measure with --runtime tvm, which needs nothing on the phone, or reach a Python "
                f"of Termux over ssh"
            )
        return self.start([self.python, "-I", "-u", file, "serve", "--workdir", self.workdir,
                           "--silence", str(_SILENCE_S)])  # fmt: skip

    def start(self, argv: Sequence[str]) -> Connection:
        """Starts a program on the device; see ``Carrier``."""
        if "shell_v2" not in self._features():
            raise DeviceError(
                f"{self.name}: its adb cannot carry bytes unchanged (shell_v2 is missing): "
                f"Android 7 or newer is needed"
            )
        line = f"{shlex.join(argv)}; echo LW_END:$? >&2"
        command = [self.client.path, "-s", self.serial, "shell", line]
        connection = AdbConnection(self.name, command, self.client.environment, self.alive)
        self._connections.append(connection)
        return connection

    def push(self, source: bytes | Path, sha256: str) -> None:
        """Puts a file among the blobs, unless it is there."""
        self._folder("blobs")
        target = f"{self.workdir}/blobs/{sha256}"
        if self.run(["test", "-f", target]).status != 0:
            self._write(source, target)

    def install(self, data: bytes, file_name: str) -> str:
        """Puts a program on the device; see ``Carrier``."""
        self._folder("bin")
        target = f"{self.workdir}/bin/{file_name}"
        if self.run(["test", "-x", target]).status != 0:
            self._write(data, target, executable=True)
        return target

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        """Content of a blob."""
        remote = f"{self.workdir}/blobs/{sha256}"
        size = self.run(["stat", "-c", "%s", remote])
        if size.status != 0 or not size.stdout.strip().isdigit():
            raise DeviceError(f"{self.name}: there is no blob {sha256[:12]}")
        if int(size.stdout) > limit_bytes:
            raise DeviceError(f"{self.name}: the file {sha256[:12]} is larger than expected")
        with tempfile.TemporaryDirectory(prefix="lwprof-") as folder:
            local = Path(folder) / "blob"
            done = self._adb(["pull", remote, str(local)], _transfer_s(int(size.stdout)))
            if not local.is_file() or local.stat().st_size != int(size.stdout):
                self._lost(done)
            return local.read_bytes()

    def clean(self) -> None:
        """Removes all that lwprof put on the device."""
        self.run(["rm", "-rf", self.workdir], 120.0)
        self._made.clear()

    def close(self) -> None:
        """Ends every program that was started here."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _features(self) -> frozenset[str]:
        done = self._adb(["features"], _ASK_S)
        if done.status != 0:
            self._lost(done)
        return frozenset(done.stdout.decode("utf-8", "replace").split())

    def _folder(self, name: str) -> None:
        folder = f"{self.workdir}/{name}"
        if folder in self._made:
            return
        done = self.run(["mkdir", "-p", folder])
        if done.status != 0:
            raise DeviceError(
                f"{self.name}: the folder {folder} cannot be made "
                f"({_short(done.stderr or done.stdout)}): free space on the device"
            )
        self._made.add(folder)

    def _write(self, source: bytes | Path, target: str, *, executable: bool = False) -> None:
        """Writes a file whole or not at all."""
        partial = f"{target}.{uuid.uuid4().hex[:8]}.part"
        try:
            self._send(source, partial)
            mode = "755" if executable else "644"
            for argv in (["chmod", mode, partial], ["mv", "-f", partial, target]):
                done = self.run(argv)
                if done.status != 0:
                    raise DeviceError(
                        f"{self.name}: cannot write {target}: {_short(done.stderr or done.stdout)}"
                    )
        except BaseException:
            with contextlib.suppress(LwprofError):
                self.run(["rm", "-f", partial], _PROBE_S)
            raise

    def _send(self, source: bytes | Path, remote: str) -> None:
        with tempfile.TemporaryDirectory(prefix="lwprof-") as folder:
            if isinstance(source, bytes):
                local = Path(folder) / "blob"
                local.write_bytes(source)
            else:
                # adb would read a name that begins with a dash as an option.
                local = source.absolute()
            try:
                size = local.stat().st_size
            except OSError as error:
                raise HostError(f"cannot read {local}: {error.strerror}") from None
            done = self._adb(["push", str(local), remote], _transfer_s(size))
        there = self.run(["stat", "-c", "%s", remote])
        if there.status != 0 or there.stdout.strip() != str(size).encode():
            self._refused_push(done)

    def _refused_push(self, done: Finished) -> NoReturn:
        text = _short(done.stderr + done.stdout)
        kind = DeviceError if any(reason in text for reason in _LASTING) else DeviceTransient
        raise kind(f"{self.name}: adb push failed: {text or 'the file did not arrive whole'}")

    def _adb(self, arguments: Sequence[str], timeout_s: float) -> Finished:
        asked = ["-s", self.serial, *arguments]
        try:
            return self.client.call(asked, timeout_s, self.alive)
        except DeviceTransient as error:
            self._found = None  # it may come back under another state: look again
            raise DeviceTransient(f"{self.name}: {error}") from None

    def _lost(self, done: Finished) -> NoReturn:
        serial, self._found = self.serial, None
        self.client.usable(serial)  # says what is wrong where adb knows it
        text = _short(done.stderr) or "the connection was cut"
        raise DeviceTransient(f"{self.name}: adb lost the phone: {text}")


def _transfer_s(size: int) -> float:
    return _ASK_S + size / _SLOWEST_BYTES_PER_S


def _short(data: bytes) -> str:
    return " ".join(data.decode("utf-8", "replace").split())[-300:]
