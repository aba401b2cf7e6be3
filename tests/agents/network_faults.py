"""Faults of a link: a server in a network namespace whose cable can be pulled."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from private_sshd import Sshd, make_sshd

_NUMBER = os.getpid() % 60000


class Cable:
    """A pair of virtual interfaces between this machine and a namespace of its own.

    Attributes:
        name: of the namespace.
        address: of its end.
    """

    def __init__(self, index: int = 0) -> None:
        self.name = f"lw{_NUMBER}x{index}"
        # A /30 of the private range that is used for nothing else.
        high, low = divmod((_NUMBER * 4 + index * 4) % 60000, 252)
        self.address = f"10.{200 + index % 50}.{high}.{low + 2}"
        self._near = f"10.{200 + index % 50}.{high}.{low + 1}"

    def make(self) -> None:
        """Makes it; skips the test where that is not possible."""
        if os.geteuid() != 0 or not shutil.which("ip"):
            pytest.skip("needs root and iproute2")
        for number, command in enumerate((
            ["netns", "add", self.name],
            ["link", "add", f"{self.name}a", "type", "veth", "peer", "name", f"{self.name}b"],
            ["link", "set", f"{self.name}b", "netns", self.name],
            ["addr", "add", f"{self._near}/30", "dev", f"{self.name}a"],
            ["link", "set", f"{self.name}a", "up"],
            ["-n", self.name, "addr", "add", f"{self.address}/30", "dev", f"{self.name}b"],
            ["-n", self.name, "link", "set", f"{self.name}b", "up"],
            ["-n", self.name, "link", "set", "lo", "up"],
        )):  # fmt: skip
            done = _ip(*command)
            if done.returncode != 0:
                self.remove()
                why = done.stderr.decode("utf-8", "replace").strip()
                pytest.skip(f"no network namespaces here (step {number}: {why})")

    def remove(self) -> None:
        """Takes it away."""
        _ip("link", "del", f"{self.name}a")
        _ip("netns", "del", self.name)

    def cut(self) -> None:
        """Pulls it: packets vanish in both directions, nobody is told."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    def mend(self) -> None:
        """Plugs it in again."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", "up")


def _ip(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False)


@contextlib.contextmanager
def distant_sshd(index: int = 0) -> Iterator[tuple[Sshd, Cable]]:
    """A server at the other end of a cable."""
    server = make_sshd()
    cable = Cable(index)
    cable.make()
    try:
        server.move(cable.address, ["ip", "netns", "exec", cable.name])
        server.start()
        yield server, cable
    finally:
        cable.mend()
        server.stop()
        cable.remove()
        shutil.rmtree(server.folder, ignore_errors=True)
