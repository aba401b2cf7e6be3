"""Targets that can also run commands, and programs of our own without Python."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from lwprof.agents.targets._base import Connection, Target


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command on a device ended.

    Attributes:
        status: its exit status; 128 + N after signal N.
        stderr: empty where the device mixes it into ``stdout`` (adb before Android 7).
    """

    status: int
    stdout: bytes
    stderr: bytes = b""


class Carrier(Target):
    """A target that can also install and start programs."""

    @property
    @abstractmethod
    def workdir(self) -> str:
        """The folder on the device; blobs lie in ``blobs`` below it."""

    @abstractmethod
    def run(self, argv: Sequence[str], timeout_s: float = 30.0) -> Ran:
        """Runs a command on the device to its end.

        Args:
            argv: the program and its arguments; no shell of the device interprets them.

        Raises:
            DeviceTransient: the link was lost, the device is silent, or time is over.
        """

    @abstractmethod
    def start(self, argv: Sequence[str]) -> Connection:
        """Starts a program on the device, spoken to over its standard streams.

        Raises:
            DeviceError: the device cannot carry a stream of bytes.
        """

    @abstractmethod
    def install(self, data: bytes, file_name: str) -> str:
        """Puts a program on the device, unless a file of that name is there.

        Args:
            file_name: carries the hash of ``data``, so that it never goes stale.

        Returns:
            Its path on the device.
        """
