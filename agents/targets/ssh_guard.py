"""Noticing a peer that has gone silent, which neither TCP nor paramiko does by itself.

Two layers. The kernel's own checks notice a cut link or a board that is gone, also while
writes are stuck, but not a hung server, whose kernel goes on acknowledging. Above it, a
keepalive that must be answered: whatever arrives counts as a sign of life, so that bulk
data in front of the answer never looks like silence.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko

# The peer is asked after this share of the patience without a byte from it.
_ASK_AFTER = 0.3
_TICK = 0.04
# A little early, so that the caller knows within the promised time.
_PATIENCE = 0.8
_KEEPALIVE_COUNT = 3


def guard_tcp(sock: socket.socket, silence_s: float) -> None:
    """Turns Nagle's algorithm off and the kernel's watch over the connection on.

    Args:
        sock: a connected TCP socket.
        silence_s: patience, seconds.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = max(1, int(silence_s / 2))
    interval = max(1, int(silence_s / 2 / _KEEPALIVE_COUNT))
    wanted = (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", int(silence_s * 1000)),
    )
    for name, value in wanted:
        option = getattr(socket, name, None)
        if option is not None:  # not on every system
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Watched:
    """A socket (or channel) that remembers when bytes last came from its peer.

    Args:
        sock: what paramiko would have been given.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.heard = time.monotonic()

    def recv(self, size: int) -> bytes:
        """As the socket's; notes the time when anything came."""
        data: bytes = self._sock.recv(size)
        if data:
            self.heard = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Guard:
    """Closes a transport whose peer sends nothing for ``silence_s`` although it is asked.

    ``Transport.close`` wakes every waiting call, also one that is stuck in a write.

    Args:
        transport: to watch; before and after authentication.
        watched: the socket that it reads from.
        silence_s: patience, seconds: silence is noticed within this time.
        excused: tells whether silence is ours, as while a person types a passphrase.

    Attributes:
        tripped: whether the transport was closed for silence.
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        watched: Watched,
        silence_s: float,
        excused: Callable[[], bool] = lambda: False,
    ) -> None:
        self.tripped = False
        self._excused = excused
        self._transport = transport
        self._watched = watched
        self._silence_s = silence_s
        self._asked = threading.Event()
        self._over = threading.Event()
        watched.heard = time.monotonic()
        for work in (self._watch, self._ask):
            threading.Thread(target=work, daemon=True, name="lwprof-ssh-guard").start()

    def stop(self) -> None:
        """Stops watching."""
        self._over.set()
        self._asked.set()

    def _watch(self) -> None:
        tick = self._silence_s * _TICK
        ask_after = self._silence_s * _ASK_AFTER
        patience = self._silence_s * _PATIENCE
        woken = time.monotonic()
        while not self._over.wait(tick) and self._transport.is_active():
            now = time.monotonic()
            if now - woken > self._silence_s / 2 or self._excused():
                # This process slept (a closed laptop): what came meanwhile is not read yet.
                self._watched.heard = now
            woken = now
            quiet = now - self._watched.heard
            if quiet >= patience:
                self.tripped = True
                self._transport.close()
                break
            if quiet >= ask_after:
                self._asked.set()
        self.stop()

    def _ask(self) -> None:
        while not self._over.is_set():
            self._asked.wait()
            self._asked.clear()
            if self._over.is_set() or not self._transport.is_authenticated():
                continue
            with contextlib.suppress(Exception):
                # Any answer will do, also a refusal. Returns when it came or all is over.
                self._transport.global_request("keepalive@openssh.com", wait=True)
