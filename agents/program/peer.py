"""The host's end of the agent: requests come in, replies go out, silence ends it."""

from __future__ import annotations

import os
import select
import time
from typing import Any, Dict, List, Optional

from . import framing
from .failures import Failure

_READ = 1 << 16


class HungUp(Exception):
    """The host is gone, has been silent too long, or asked to stop."""


class Stopped(HungUp):
    """The host asked to stop: it wants nothing of what still runs."""


class Peer:
    """Frames from and to the host.

    Args:
        fd_in: descriptor that requests come from.
        fd_out: descriptor that replies go to.
    """

    def __init__(self, fd_in: int, fd_out: int) -> None:
        self._in = fd_in
        self._out = fd_out
        self._decoder = framing.FrameDecoder()
        self._queue: List[Dict[str, Any]] = []

    def send(self, message: Dict[str, Any]) -> None:
        """Sends one frame.

        Raises:
            HungUp: nobody reads any more.
        """
        try:
            framing.write_all(self._out, framing.encode(message))
        except OSError:
            raise HungUp from None

    def fail(self, request_id: Any, failure: Failure) -> None:
        """Answers a request with its failure."""
        self.send({"id": request_id, "error": failure.to_json()})

    def next_request(self, silence_s: float) -> Dict[str, Any]:
        """The next request, waiting for it without using the processor.

        Raises:
            HungUp: the input ended, or ``silence_s`` passed.
        """
        deadline = time.monotonic() + silence_s
        while not self._queue:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise HungUp
            self._receive()
        return self._queue.pop(0)

    def wait(self, fd: int, deadline: Optional[float]) -> bool:
        """Sleeps until ``fd`` can be read; the host is listened to meanwhile.

        Returns:
            False when ``deadline`` (monotonic seconds) passed first.

        Raises:
            HungUp: the host went away or asked to stop.
        """
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready = select.select([fd, self._in], [], [], left)[0]
            if self._in in ready:
                self._receive()
                self._answer_urgent()
            if fd in ready:
                return True

    def _answer_urgent(self) -> None:
        """Answers pings at once and obeys a stop, although a block is running."""
        waiting, self._queue = self._queue, []
        for request in waiting:
            if request.get("op") == "ping":
                self.send({"id": request.get("id"), "ok": {"busy": True}})
            elif request.get("op") == "stop":
                self.send({"id": request.get("id"), "ok": {}})
                raise Stopped
            else:
                self._queue.append(request)

    def _receive(self) -> None:
        try:
            data = os.read(self._in, _READ)
        except OSError:
            raise HungUp from None
        if not data:
            raise HungUp
        try:
            self._queue += self._decoder.feed(data)
        except framing.FrameError as error:
            # Nothing after this can be understood: say why, and end.
            self.fail(None, Failure("protocol", str(error), side="host"))
            raise HungUp from None


class Alone(Peer):
    """In the place of the host, for work that goes on without it."""

    def __init__(self) -> None:
        super().__init__(-1, -1)

    def wait(self, fd: int, deadline: Optional[float]) -> bool:
        """Sleeps until ``fd`` can be read; False when ``deadline`` passed first."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return bool(select.select([fd], [], [], left)[0])
