"""One running native program, spoken to step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.agents import messages, reading
from lwprof.agents.failures import to_exception
from lwprof.agents.messages import Hello
from lwprof.agents.program.framing import PROTOCOL, FrameDecoder, FrameError, encode
from lwprof.agents.targets import Connection
from lwprof.errors import DeviceError, DeviceTransient, HostError

_START_S = 60.0
_SEND_S = 60.0


class NativeWorker:
    """A process on the device.

    Args:
        name: the device's, for messages.
        connection: its streams; closed by ``close``.
        digest: what it must say of itself.

    Raises:
        DeviceError: it does not start, or is another program.
    """

    def __init__(self, name: str, connection: Connection, digest: str) -> None:
        self._name = name
        self._connection: Connection | None = connection
        self._decoder = FrameDecoder()
        self._inbox: list[dict[str, Any]] = []
        self._count = 0
        self.started = time.monotonic()
        hello = self._read(self._next(time.monotonic() + _START_S))
        if hello.protocol != PROTOCOL or hello.agent_sha256 != digest:
            self.close()
            raise DeviceError(f"{name} runs another program than the one carried there")
        self.pid = hello.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._connection is not None

    def ask(self, step: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The result of one step.

        Raises:
            DeviceTransient: it died, or did not answer in time.
            DeviceError, UsageError: it refused the step.
        """
        if self._connection is None:
            raise DeviceTransient(f"{self._name}: the native agent is not running")
        self._count += 1
        try:
            frame = encode({"id": self._count, "step": dict(step)})
        except FrameError as error:
            raise HostError(f"the step {step.get('do')!r} cannot be sent: {error}") from None
        try:
            self._connection.send(frame, min(timeout_s, _SEND_S))
            reply = self._next(time.monotonic() + timeout_s)
        except BaseException:
            self.close()  # interrupted: the answer to come would fit no later question
            raise
        if "error" in reply:
            refusal = reading.read(reply["error"], messages.ErrorReply, self._name)
            raise to_exception(refusal, self._name)
        if reply.get("id") != self._count or not isinstance(reply.get("ok"), dict):
            self.close()
            raise DeviceError(f"{self._name}: the native agent broke the protocol")
        answer: dict[str, Any] = reply["ok"]
        return answer

    def files(self, patterns: Sequence[str]) -> tuple[int, dict[str, str]]:
        """The device's monotonic clock (ns) and texts of files under /proc and /sys."""
        answer = self.ask({"do": "read", "files": list(patterns)}, _START_S)
        files, now = answer.get("files"), answer.get("monotonic_ns")
        if not isinstance(files, dict) or not isinstance(now, int):
            raise DeviceError(f"{self._name}: the native agent broke the protocol")
        return now, {str(key): str(value) for key, value in files.items()}

    def close(self) -> None:
        """Ends it. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _next(self, deadline: float) -> dict[str, Any]:
        while not self._inbox:
            assert self._connection is not None
            try:
                data = self._connection.receive(deadline - time.monotonic())
            except TimeoutError:
                raise self._lost("it did not answer in time") from None
            if not data:
                raise self._lost("it ended")
            try:
                self._inbox += self._decoder.feed(data)
            except FrameError as error:
                self.close()
                raise DeviceError(
                    f"{self._name}: the native agent broke the protocol: {error}"
                ) from None
        return self._inbox.pop(0)

    def _lost(self, what: str) -> DeviceTransient:
        tail = "" if self._connection is None else self._connection.stderr_tail().strip()
        last = reading.clean(tail.splitlines()[-1])[:300] if tail else ""
        self.close()
        return DeviceTransient(
            f"{self._name}: the native agent is lost: {what}" + (f" ({last})" if last else "")
        )

    def _read(self, data: dict[str, Any]) -> Hello:
        try:
            return reading.read(data, Hello, self._name)
        except DeviceError:
            self.close()
            raise
