"""A running agent at the other end of an ssh channel."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import threading
import time

import paramiko

from lwprof.agents.targets._base import Connection
from lwprof.agents.targets.ssh_connecting import Way
from lwprof.agents.targets.ssh_link import SshLink, close_quietly, drain_stderr
from lwprof.errors import DeviceError, DeviceTransient

_CHUNK = 1 << 16
_START_S = 30.0
_MOST_NOISE = 1 << 20
_LEAVE_S = 2.0
_KILL_S = 5.0


class SshConnection(Connection):
    """Bytes to and from a program that is started on the device.

    Args:
        link: how to get there.
        command: the program and its arguments.

    Raises:
        DeviceTransient: the device is gone.
        DeviceError: the login shell does not start it.
    """

    def __init__(self, link: SshLink, command: list[str]) -> None:
        self._link = link
        self._tail = bytearray()
        self._early = b""
        self._pid = 0
        self._way: Way = link.way()
        self._channel = link.open_channel()
        mark = secrets.token_hex(8)
        # What a login shell prints of its own comes before the mark and is dropped.
        script = f"echo LW_GO:{mark}:$$; exec {shlex.join(command)}"
        try:
            self._channel.settimeout(_START_S)
            self._channel.exec_command(f"exec /bin/sh -c {shlex.quote(script)}")
            threading.Thread(
                target=drain_stderr, args=(self._channel, self._tail), daemon=True,
                name="lwprof-ssh-err",
            ).start()  # fmt: skip
            self._await(f"LW_GO:{mark}:".encode())
        except (paramiko.SSHException, EOFError, OSError) as error:
            close_quietly(self._channel)
            raise link.lost(self._way, error) from None
        except BaseException:
            close_quietly(self._channel)
            raise

    def _await(self, mark: bytes) -> None:
        seen = b""
        deadline = time.monotonic() + _START_S
        while True:
            at = seen.find(mark)
            end = seen.find(b"\n", at) if at >= 0 else -1
            if end >= 0:
                break
            self._channel.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._channel.recv(_CHUNK)
            if not data:
                if not self._way.alive:
                    raise EOFError("it ended during the start")
                raise DeviceError(f"{self._link.name}: the login shell does not start the agent "
                                  f"({self.stderr_tail()[-300:].strip()})")  # fmt: skip
            seen += data
            if len(seen) > _MOST_NOISE or time.monotonic() > deadline:
                raise DeviceError(f"{self._link.name}: the login shell prints without end: see "
                                  "the user's profile there")  # fmt: skip
        digits = seen[at + len(mark) : end]
        self._pid = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        self._early = seen[end + 1 :]

    def send(self, data: bytes, timeout_s: float) -> None:
        """Sends all of ``data``."""
        deadline = time.monotonic() + timeout_s
        view = memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeviceTransient(f"{self._link.name}: the agent takes no more bytes")
            try:
                self._channel.settimeout(left)
                # Never all at once: what is left over would be copied for every packet.
                sent = self._channel.send(view[:_CHUNK])
            except TimeoutError:
                continue
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise self._link.lost(self._way, error) from None
            if sent == 0:
                raise self._link.lost(self._way, EOFError("the agent is gone"))
            view = view[sent:]

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            self._channel.settimeout(max(0.001, min(timeout_s, 86400.0)))
            return bytes(self._channel.recv(_CHUNK))
        except TimeoutError:
            if timeout_s > 0 and not self._way.alive:
                return b""
            raise TimeoutError from None
        except (OSError, EOFError, paramiko.SSHException):
            return b""

    def stderr_tail(self) -> str:
        """The last that the agent wrote to standard error, or why the link ended."""
        if self._way.silent:
            return str(self._link.lost(self._way, EOFError()))
        return bytes(self._tail).decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the agent: it leaves when its input ends, or is killed after a moment."""
        if self._channel.closed:
            return
        with contextlib.suppress(Exception):
            if self._way.alive:
                self._channel.shutdown_write()
                if not self._channel.status_event.wait(_LEAVE_S):
                    self._kill()
        close_quietly(self._channel)

    def _kill(self) -> None:
        """Kills the agent, which is its own session's leader or at least its own process."""
        if self._pid > 1:
            looks = f"grep -q lwprof-agent /proc/{self._pid}/cmdline"
            self._link.run(f"{looks} && kill -KILL {self._pid}", timeout_s=_KILL_S)
