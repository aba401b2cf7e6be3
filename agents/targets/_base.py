"""What every target offers: carry the agent to a device, start it, move files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self


class Connection(ABC):
    """A running agent: bytes to its standard input, bytes from its standard output."""

    @abstractmethod
    def send(self, data: bytes, timeout_s: float) -> None:
        """Sends all of ``data``.

        Raises:
            DeviceTransient: the agent is gone, or did not take the bytes in time.
        """

    @abstractmethod
    def receive(self, timeout_s: float) -> bytes:
        """The next bytes, at least one; ``b""`` when the agent is gone.

        Raises:
            TimeoutError: nothing came in time.
        """

    @abstractmethod
    def stderr_tail(self) -> str:
        """The last that the agent wrote to standard error; may be empty."""

    @abstractmethod
    def close(self) -> None:
        """Ends the agent and everything it started. May be called again."""


class Target(ABC):
    """A live connection to a device. A context manager.

    Attributes:
        name: the device's name, for messages.
        environment: "virtual", "emulated" or "synthetic" when this target itself is a
            stand-in; None leaves the answer to the device.
        detached: whether blocks run on when the link to the device is lost, so that the
            agent can be opened again and asked for their results.
        resume_s: how long a lost link is tried again, seconds.
    """

    name: str
    environment: str | None = None
    detached: bool = False
    resume_s: float = 0.0

    @abstractmethod
    def open(self) -> Connection:
        """Starts a fresh agent; the program travels under its hash.

        Raises:
            DeviceError: the device cannot run it (transient where trying again can help).
            HostError: this machine cannot reach the device at all.
        """

    @abstractmethod
    def push(self, source: bytes | Path, sha256: str) -> None:
        """Puts a file among the device's blobs, under the hash of its content.

        Raises:
            DeviceError: no space, read-only, or the link failed (transient).
            HostError: ``source`` cannot be read.
        """

    @abstractmethod
    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        """Content of one of the device's blobs.

        Raises:
            DeviceError: it is not there, or larger than ``limit_bytes``.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets the device go. May be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
