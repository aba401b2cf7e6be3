"""A link to a device by ssh: commands with their true end, and files in both directions.

Nothing but a POSIX shell is needed on the other side, so boards without an SFTP server will
do. A command's end is read from a marker in its output: an exit status alone cannot be told
from a lost connection.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko

from lwprof.agents.targets.ssh_connecting import Way, connect
from lwprof.agents.targets.ssh_keys import Ask, Credentials, ask_at_terminal
from lwprof.agents.targets.ssh_settings import SshSettings
from lwprof.errors import DeviceError, DeviceTransient

_COMMAND_S = 60.0
_CHUNK = 1 << 16
# A server's MaxSessions is 10 unless somebody changed it; some are left for the user.
_MOST_CHANNELS = 6
_OUTPUT_BYTES = 64 * 2**20
_STATUS = re.compile(rb"(\d{1,3})\n")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended.

    Attributes:
        status: its exit status; 128 + N after signal N.
        stdout: between the markers, so free of what a login shell prints.
        stderr: its last lines.
    """

    status: int
    stdout: bytes
    stderr: str


class SshLink:
    """One device by ssh. Connects when it is first used, and again after a loss.

    May be used from several threads.

    Args:
        name: the device's name, for messages.
        settings: how to reach it.
        ask: asks a person for a passphrase.
    """

    def __init__(self, name: str, settings: SshSettings, ask: Ask = ask_at_terminal) -> None:
        self.name = name
        self.settings = settings
        self._credentials = Credentials(ask)
        self._way: Way | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MOST_CHANNELS)

    def way(self) -> Way:
        """The open way to the device; opened once more when it was lost.

        Raises:
            LwprofError: see ``connect``.
        """
        with self._lock:
            if self._way is not None and not self._way.alive:
                self._way.close()
                self._way = None
            if self._way is None:
                self._way = connect(self.name, self.settings, self._credentials)
            return self._way

    def close(self) -> None:
        """Ends the link; its next use would open it again."""
        with self._lock:
            way, self._way = self._way, None
        if way is not None:
            way.close()

    @contextlib.contextmanager
    def channel(self) -> Iterator[paramiko.Channel]:
        """A fresh channel of the connection, closed afterwards.

        Raises:
            DeviceTransient: the device is gone.
        """
        if not self._slots.acquire(timeout=_COMMAND_S):
            raise DeviceTransient(f"{self.name}: too many commands at the same time")
        try:
            channel = self.open_channel()
            try:
                yield channel
            finally:
                close_quietly(channel)
        finally:
            self._slots.release()

    def open_channel(self) -> paramiko.Channel:
        """A channel that the caller closes.

        Raises:
            DeviceTransient: the device is gone.
        """
        way = self.way()
        try:
            return way.transport.open_session(timeout=2 * self.settings.silence_s)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, paramiko.ChannelException) and way.alive:
                raise DeviceTransient(f"{self.name}: the ssh server opens no more channels "
                                      f"({error}): see its MaxSessions") from None  # fmt: skip
            if way.alive:  # it answers keepalives, but not this
                way.close()
            raise self.lost(way, error) from None

    def run(
        self,
        script: str,
        stdin: bytes | memoryview = b"",
        timeout_s: float = _COMMAND_S,
        most_bytes: int = _OUTPUT_BYTES,
    ) -> Finished:
        """Runs a script of the POSIX shell and waits for its end.

        Args:
            script: without control over the outer shell: it is passed as one argument.
            stdin: given to it, then its input ends.
            timeout_s: the time it may take, seconds.
            most_bytes: more output than this is refused.

        Raises:
            DeviceTransient: the link was lost, or the time passed.
            DeviceError: it printed too much, or no shell ran it.
        """
        mark = secrets.token_hex(8)
        whole = f"echo LW_BEGIN:{mark}; ( {script}\n) ; lw=$?; echo; echo LW_END:{mark}:$lw; exit 0"
        deadline = time.monotonic() + timeout_s
        with self.channel() as channel:
            way = self.way()
            try:
                channel.settimeout(timeout_s)
                channel.exec_command(f"exec /bin/sh -c {shlex.quote(whole)}")
                _send(channel, stdin, deadline)
                channel.shutdown_write()
                out, err = _output(channel, deadline, most_bytes)
            except _TooMuch:
                raise DeviceError(f"{self.name}: a command printed too much") from None
            except TimeoutError:
                raise DeviceTransient(
                    f"{self.name}: a command did not end within {timeout_s:g} s"
                ) from None
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise self.lost(way, error) from None
            return self._finished(way, mark, out, err)

    def _finished(self, way: Way, mark: str, out: bytes, err: bytes) -> Finished:
        begin, end = f"LW_BEGIN:{mark}\n".encode(), f"\nLW_END:{mark}:".encode()
        start = out.find(begin)
        stop = out.rfind(end)
        stderr = err.decode("utf-8", "replace").strip()
        status = _STATUS.match(out, stop + len(end)) if stop >= 0 else None
        if start < 0 and way.alive and not out:
            raise DeviceError(f"{self.name}: the login runs no commands "
                              f"({_last_line(stderr) or 'it printed nothing'}): see the user's "
                              "shell and authorized_keys there")  # fmt: skip
        if start < 0 or status is None:
            raise self.lost(way, EOFError("the output ends in the middle"))
        return Finished(int(status[1]), out[start + len(begin) : stop], stderr)

    def lost(self, way: Way, error: BaseException) -> DeviceTransient:
        """The error to raise when something failed because the link did."""
        if way.silent:
            return DeviceTransient(
                f"{self.name}: was silent for {self.settings.silence_s:g} s: the link is cut or "
                "the device hangs"
            )
        return DeviceTransient(
            f"{self.name}: the connection was lost ({str(error) or type(error).__name__})"
        )


class _TooMuch(Exception):
    """More output than anything of ours prints."""


def _send(channel: paramiko.Channel, data: bytes | memoryview, deadline: float) -> None:
    view = memoryview(data)
    while view:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(left)
        try:
            sent = channel.send(view[:_CHUNK])
        except TimeoutError:
            raise
        except OSError:
            if channel.closed or channel.eof_received or channel.exit_status_ready():
                return  # the command ended without reading all; its output says why
            raise
        if sent == 0:
            return
        view = view[sent:]


def _output(channel: paramiko.Channel, deadline: float, most_bytes: int) -> tuple[bytes, bytes]:
    """All that a command prints until it ends, and the end of its standard error."""
    out, err = bytearray(), bytearray()
    collector = threading.Thread(
        target=drain_stderr, args=(channel, err), daemon=True, name="lwprof-ssh-err"
    )
    collector.start()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(left)
        data = channel.recv(_CHUNK)
        if not data:
            break
        out += data
        if len(out) > most_bytes + _CHUNK:
            raise _TooMuch
    collector.join(1.0)
    return bytes(out), bytes(err)


def close_quietly(channel: paramiko.Channel) -> None:
    """Closes a channel; one whose connection is gone is closed already."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        channel.close()


def drain_stderr(channel: paramiko.Channel, into: bytearray) -> None:
    """Reads a channel's standard error to its end; keeps the last of it in ``into``."""
    while True:
        try:
            data = channel.recv_stderr(_CHUNK)
        except TimeoutError:
            if channel.closed:
                return
            continue
        except (OSError, EOFError, paramiko.SSHException):
            return
        if not data:
            return
        into += data
        del into[:-_CHUNK]


def _last_line(text: str) -> str:
    return text.splitlines()[-1][:300] if text else ""
