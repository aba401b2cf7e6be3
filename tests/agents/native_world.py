"""This machine as a device for native programs, directly or under an emulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwprof.agents.targets import Carrier, Connection, LocalConnection, LocalTarget, Ran

if TYPE_CHECKING:
    from lwprof.profiler.session.scripts import Runnable
    from lwprof.profiler.tvm.native import NativeArtifact

QEMU = {
    "aarch64": shutil.which("qemu-aarch64-static"),
    "armv7l": shutil.which("qemu-arm-static"),
    "x86_64": "",
}


class NativeTarget(Carrier):
    """This machine, with its agent's work folder in ``folder``.

    Args:
        machine: programs of other machines than this run under an emulator.
    """

    def __init__(self, folder: Path, machine: str) -> None:
        self.name = "native"
        self.environment = "emulated" if QEMU[machine] else None
        self._local = LocalTarget("native", workdir=folder)
        self._emulator = [QEMU[machine]] if QEMU[machine] else []
        self._connections: list[Connection] = []

    @property
    def workdir(self) -> str:
        return str(self._local.workdir)

    def open(self) -> Connection:
        return self._local.open()

    def push(self, source: bytes | Path, sha256: str) -> None:
        self._local.push(source, sha256)

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        return self._local.pull(sha256, limit_bytes)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def run(self, argv: Sequence[str], timeout_s: float = 60.0) -> Ran:
        done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, argv: Sequence[str]) -> Connection:
        made = LocalConnection(self.name, [*map(str, self._emulator), *argv], {})
        self._connections.append(made)
        return made

    def install(self, data: bytes, file_name: str) -> str:
        file = self._local.workdir / "bin" / file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755)
        return str(file)


def compiled(cache: Path, machine: str) -> tuple[NativeArtifact, Runnable]:
    """A small network as a program, and how a block names it. Needs TVM."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tvm"))
    from tvm_models import Model

    from lwprof.profiler.graph import input_specs, read
    from lwprof.profiler.session.scripts import Runnable
    from lwprof.profiler.tvm.native import compile_native

    m = Model(x=(1, 4, 8, 8))
    x = m.add("Conv", "x", m.weight(8, 4, 3, 3), m.weight(8), pads=[1] * 4)
    graph = read(m.proto(m.add("Relu", x)))
    made = compile_native(graph, machine=machine, cache_dir=cache)
    options = {"runtime": "tvm", "threads": 1}
    return made, Runnable(made.program.sha256, input_specs(graph), options)
