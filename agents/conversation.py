"""One conversation with an agent: questions and answers in frames, over a link that may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lwprof.agents import messages, reading, resuming
from lwprof.agents.failures import to_exception
from lwprof.agents.messages import Hello, Message
from lwprof.agents.packing import program
from lwprof.agents.program.framing import PROTOCOL, FrameDecoder, FrameError, encode
from lwprof.agents.targets import Connection, Target
from lwprof.errors import DeviceError, DeviceTransient, HostError, LwprofError

M = TypeVar("M", bound=Message)
T = TypeVar("T")

STOP_ID = 0
ASK_S = 60.0
_START_S = 60.0


class Conversation:
    """The part of an agent that asks; what it asks is said in :mod:`lwprof.agents.client`.

    Args:
        target: how to reach the device; it stays the caller's to close.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connection: Connection | None = None
        self._decoder = FrameDecoder()
        self._inbox: list[dict[str, Any]] = []
        self._count = 0
        self._held: set[str] = set()
        self._wanted = False

    @property
    def alive(self) -> bool:
        """Whether there is an agent to ask; False after it died or broke the protocol."""
        return self._connection is not None

    def close(self) -> None:
        """Ends the conversation. May be called again."""
        self._wanted = False
        self._drop()

    def _open(self) -> None:
        if self._connection is not None:
            return
        self._decoder, self._inbox, self._held = FrameDecoder(), [], set()
        self._connection = self.target.open()
        first = self._next(time.monotonic() + _START_S, "its hello")
        if "error" in first:
            raise self._broken(first)
        hello = self._read(first, Hello)
        if hello.protocol != PROTOCOL or hello.agent_sha256 != program().sha256:
            self._drop()
            raise DeviceError(
                f"{self.target.name} runs another agent (protocol {hello.protocol}) than this "
                f"lwprof's: remove it from the device's work folder and try again"
            )

    def _drop(self) -> None:
        """Ends the connection; a block that runs detached goes on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _insist(self, work: Callable[[], T]) -> T:
        """Does what needs a link, again while it is lost for passing reasons."""
        patience = self.target.resume_s if self.target.detached else 0.0
        return resuming.insist(work, patience)

    def _ask(self, operation: str, args: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if not (self._wanted and self.target.detached):
            return self._ask_once(operation, args, timeout_s)

        def attempt() -> dict[str, Any]:
            if self._wanted:  # else it was closed meanwhile, by another thread
                self._open()
            return self._ask_once(operation, args, timeout_s)

        return resuming.insist(
            attempt, self.target.resume_s, answered=lambda: self.alive or not self._wanted
        )

    def _ask_once(
        self, operation: str, args: Mapping[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        if self._connection is None:
            raise DeviceTransient(f"{self.target.name}: the agent is not running")
        self._count += 1
        try:
            frame = encode({"id": self._count, "op": operation, "args": dict(args)})
        except FrameError as error:
            raise HostError(f"the request {operation!r} cannot be sent: {error}") from None
        try:
            self._send(frame, min(timeout_s, ASK_S))
            return self._answer(operation, time.monotonic() + timeout_s)
        except LwprofError:
            raise
        except BaseException:
            self.close()  # interrupted: the answer to come would fit no later question
            raise

    def _send(self, frame: bytes, timeout_s: float) -> None:
        assert self._connection is not None
        try:
            self._connection.send(frame, timeout_s)
        except DeviceTransient as error:
            raise self._lost(str(error)) from None

    def _answer(self, operation: str, deadline: float) -> dict[str, Any]:
        while True:
            reply = self._next(deadline, f"an answer to {operation!r}")
            if reply.get("id") == STOP_ID:
                continue
            if "error" in reply and reply.get("id") in (self._count, None):
                raise self._refused(reply)
            if reply.get("id") == self._count and isinstance(reply.get("ok"), dict):
                answer: dict[str, Any] = reply["ok"]
                return answer
            if reply.get("id") != self._count or "event" not in reply:
                raise self._violation("an answer that fits no question")

    def _next(self, deadline: float, what: str) -> dict[str, Any]:
        while not self._inbox:
            if self._connection is None:
                raise DeviceTransient(f"{self.target.name}: the agent is not running")
            try:
                data = self._connection.receive(deadline - time.monotonic())
            except TimeoutError:
                raise self._lost(f"waited in vain for {what}") from None
            if not data:
                raise self._lost(f"ended before {what}")
            try:
                self._inbox += self._decoder.feed(data)
            except FrameError as error:
                raise self._violation(str(error)) from None
        return self._inbox.pop(0)

    def _read(self, data: Any, kind: type[M]) -> M:
        try:
            return reading.read(data, kind, self.target.name)
        except DeviceError:
            self._drop()  # what says one wrong thing is not asked again
            raise

    def _refused(self, reply: Mapping[str, Any]) -> Exception:
        error = self._read(reply["error"], messages.ErrorReply)
        if reply.get("id") is None:
            self._drop()
        return to_exception(error, self.target.name)

    def _broken(self, reply: Mapping[str, Any]) -> Exception:
        error = self._refused(reply)
        self._drop()
        return error

    def _lost(self, what: str) -> DeviceTransient:
        tail = "" if self._connection is None else self._connection.stderr_tail().strip()
        last = reading.clean(tail.splitlines()[-1])[:300] if tail else ""
        self._drop()
        return DeviceTransient(
            f"{self.target.name}: the agent is lost: {what}" + (f" ({last})" if last else "")
        )

    def _violation(self, what: str) -> DeviceError:
        self._drop()
        return DeviceError(f"{self.target.name}: the agent broke the protocol: {what}")
