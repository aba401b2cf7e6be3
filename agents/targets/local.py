"""This machine as a device: the agent runs as a child process, just as over a link."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from lwprof.agents.packing import program
from lwprof.agents.targets._base import Connection, Target
from lwprof.errors import DeviceError, DeviceTransient, HostError

_CHUNK = 1 << 16
_TAIL_BYTES = 64 * 1024
# The end of a pipe is always noticed, so silence means nothing here.
_SILENCE_S = 30 * 86400.0
_CACHE_BYTES = 8 * 2**30
# A model that was used within this time may belong to a session that still runs.
_KEEP_S = 86400.0


def default_workdir() -> Path:
    """Where models and scratch files go: ``LWPROF_CACHE``/agent, else the user's cache."""
    base = os.environ.get("LWPROF_CACHE") or platformdirs.user_cache_dir("lwprof")
    return Path(base) / "agent"


class LocalTarget(Target):
    """Runs the agent as a child of this process.

    Args:
        name: the device's name, for messages.
        workdir: see ``default_workdir``.
        python: the interpreter that runs the agent; default: this one.
        env: additions to its environment.
        cache_bytes: models beyond this are removed, least recently used first.
    """

    def __init__(
        self,
        name: str = "host",
        *,
        workdir: Path | None = None,
        python: str | None = None,
        env: Mapping[str, str] | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.name = name
        self.workdir = (Path(workdir) if workdir is not None else default_workdir()).absolute()
        self._python = python or sys.executable
        self._env = dict(env or {})
        self._cache_bytes = cache_bytes
        self._connections: list[LocalConnection] = []

    @property
    def _blobs(self) -> Path:
        return self.workdir / "blobs"

    def open(self) -> Connection:
        """Starts a fresh agent."""
        packed = program()
        file = self.workdir / packed.file_name
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            if not file.is_file() or file.read_bytes() != packed.data:
                _write(file, packed.data)
        except OSError as error:
            raise self._unusable(error) from None
        command = [self._python, "-I", "-u", str(file), "serve",
                   "--workdir", str(self.workdir), "--silence", str(_SILENCE_S)]  # fmt: skip
        connection = LocalConnection(self.name, command, {**os.environ, **self._env})
        self._connections.append(connection)
        return connection

    def push(self, source: bytes | Path, sha256: str) -> None:
        """Copies a model into the cache, and makes room first where that is needed."""
        target = self._blobs / sha256
        if target.is_file():
            with contextlib.suppress(OSError):
                os.utime(target)
            return
        if isinstance(source, Path):
            try:
                size = source.stat().st_size
            except OSError as error:
                raise HostError(f"cannot read {source}: {error.strerror}") from None
        else:
            size = len(source)
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            # Copied, not linked: the user may change the original in place.
            _write(target, source)
        except OSError as error:
            raise self._unusable(error) from None

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        """Content of a blob."""
        file = self._blobs / sha256
        try:
            if file.stat().st_size > limit_bytes:
                raise DeviceError(f"{self.name}: the file {sha256[:12]} is larger than expected")
            return file.read_bytes()
        except OSError as error:
            raise DeviceError(
                f"{self.name}: cannot read {file}: {error.strerror or error}"
            ) from None

    def close(self) -> None:
        """Ends every agent that was started here."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _unusable(self, error: OSError) -> DeviceError:
        return DeviceError(
            f"{self.name}: the work folder {self.workdir} cannot be used "
            f"({error.strerror or error}): free space there or set LWPROF_CACHE to another folder"
        )

    def _make_room(self, size: int) -> None:
        found: list[tuple[float, int, Path]] = []
        for file in self._blobs.iterdir():
            with contextlib.suppress(OSError):  # another session may remove files too
                status = file.stat()
                found.append((max(status.st_atime, status.st_mtime), status.st_size, file))
        total = size + sum(entry[1] for entry in found)
        for used, bytes_, file in sorted(found):
            if total <= self._cache_bytes or time.time() - used < _KEEP_S:
                return
            file.unlink(missing_ok=True)
            total -= bytes_


class LocalConnection(Connection):
    """A child process spoken to over pipes.

    Raises:
        DeviceError: the interpreter cannot be started.
    """

    def __init__(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        self._name = name
        try:
            # Its own session: a Ctrl-C at the terminal is ours to handle, not its.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=dict(env), bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(
                f"{name}: cannot start {command[0]}: {error.strerror or error}"
            ) from None
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._tail: deque[bytes] = deque(maxlen=_TAIL_BYTES // 1024)
        self._reader = threading.Thread(target=self._drain, daemon=True, name=f"{name}-stderr")
        self._reader.start()

    @property
    def pid(self) -> int:
        """The agent's process id."""
        return self._process.pid

    def send(self, data: bytes, timeout_s: float) -> None:
        """Sends all of ``data``."""
        deadline = time.monotonic() + timeout_s
        view = memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeviceTransient(f"{self._name}: the agent takes no more bytes")
            try:
                if _ready(self._stdin.fileno(), select.POLLOUT, left):
                    view = view[os.write(self._stdin.fileno(), view[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                raise DeviceTransient(f"{self._name}: the agent is gone") from None

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes."""
        try:
            handle = self._stdout.fileno()
        except ValueError:  # closed
            return b""
        if not _ready(handle, select.POLLIN, timeout_s):
            raise TimeoutError
        return os.read(handle, _CHUNK)

    def stderr_tail(self) -> str:
        """The last lines of standard error."""
        self._reader.join(0.2)
        return b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the agent: it leaves when its input ends, or is killed after a moment."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(2.0)
        for pipe in (self._stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _drain(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while chunk := os.read(stderr.fileno(), 1024):
            self._tail.append(chunk)


def _ready(handle: int, event: int, timeout_s: float) -> bool:
    """Waits for a descriptor; poll, because select ends at descriptor 1023."""
    poll = select.poll()
    poll.register(handle, event)
    return bool(poll.poll(max(0.0, min(timeout_s, 86400.0)) * 1000))


def _write(target: Path, source: bytes | Path) -> None:
    """Writes a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="incoming-")
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(source, Path):
                with source.open("rb") as original:
                    while chunk := original.read(1 << 20):
                        file.write(chunk)
            else:
                file.write(source)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
