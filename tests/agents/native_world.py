"""This machine as a device for native programs, directly or under an emulator."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lwprof.agents.targets import Connection, LocalConnection, LocalTarget

QEMU = {
    "aarch64": shutil.which("qemu-aarch64-static"),
    "armv7l": shutil.which("qemu-arm-static"),
    "x86_64": "",
}


@dataclass(frozen=True)
class Ran:
    status: int
    stdout: bytes


class NativeTarget(LocalTarget):
    """The local target, with what native programs need besides.

    Args:
        machine: programs of other machines than this run under an emulator.
    """

    def __init__(self, workdir: Path, machine: str) -> None:
        super().__init__("native", workdir=workdir)
        self.environment = "emulated" if QEMU[machine] else None
        self._emulator = [QEMU[machine]] if QEMU[machine] else []

    def run(self, argv: Sequence[str], timeout_s: float = 60.0) -> Ran:
        done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False)
        return Ran(done.returncode, done.stdout)

    def start(self, argv: Sequence[str]) -> Connection:
        made = LocalConnection(self.name, [*map(str, self._emulator), *argv], {})
        self._connections.append(made)
        return made

    def install(self, data: bytes, file_name: str) -> str:
        file = self.workdir / "bin" / file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)
        return str(file)
