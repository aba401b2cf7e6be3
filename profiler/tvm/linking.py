"""Linking kernels with the native agent into one program that needs nothing else.

``zig cc`` (PyPI: ziglang) is a C compiler that brings the C library of every Linux along,
so that a host of any kind can make programs for a phone or board, without an NDK.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lwprof.errors import HostError, MissingExtra, UsageError
from lwprof.profiler.tvm.toolchain import require_tvm

_LINK_S = 600.0
INSTALL_HINT = "pip install 'lwprof[native]'"
_FLAGS = (
    "-O2", "-std=gnu11", "-fPIE", "-s", "-ffunction-sections", "-fdata-sections",
    "-Wl,--gc-sections",
    # Android refuses programs that are not position-independent, and newer phones have
    # pages of 16 KB.
    "-Wl,-z,max-page-size=16384",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of device that native programs are made for.

    Attributes:
        llvm: triple that TVM compiles for.
        zig: target that zig links for.
        cpu: processor whose instructions all such devices have.
        features: of LLVM, to be switched on.
    """

    name: str
    llvm: str
    zig: str
    cpu: str
    features: tuple[str, ...] = ()


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("aarch64", "aarch64-linux-gnu", "aarch64-linux-musl", "cortex-a72", ("+neon",)),
        # Not cortex-a8 and its kind: without fused multiply-add nothing fast is left.
        Machine("armv7l", "armv7a-linux-gnueabihf", "arm-linux-musleabihf", "cortex-a7",
                ("+neon", "+vfp4")),
        Machine("x86_64", "x86_64-linux-gnu", "x86_64-linux-musl", "x86-64-v3"),
    )
}  # fmt: skip
_ALIASES = {"arm64": "aarch64", "armv8l": "armv7l", "armv7": "armv7l", "amd64": "x86_64"}


def machine(name: str) -> Machine:
    """The machine of that name, as ``uname -m`` prints it.

    Raises:
        UsageError: native programs cannot be made for it.
    """
    found = MACHINES.get(_ALIASES.get(name, name))
    if found is None:
        raise UsageError(
            f"no native program can be made for a {name[:32]} device, only for "
            f"{', '.join(sorted(MACHINES))}"
        )
    return found


def target_of(kind: Machine, threads: int, cpu: str | None = None) -> Any:
    """The machine as a TVM target.

    Args:
        cpu: LLVM's name of the processor, where it is known better.
    """
    tvm = require_tvm()
    described: dict[str, Any] = {
        "kind": "llvm", "mtriple": kind.llvm, "mcpu": cpu or kind.cpu, "num-cores": threads,
    }  # fmt: skip
    if kind.features:
        described["mattr"] = list(kind.features)
    return tvm.target.Target(described)


def require_linker(kind: Machine) -> tuple[str, ...]:
    """The command that compiles C and links for a machine.

    For this machine's own kind that is the system's compiler where there is one: zig builds
    a C library first, which takes it a minute of each kind.

    Raises:
        MissingExtra: zig is needed and not installed.
    """
    own = shutil.which(os.environ.get("CC") or "cc")
    if own is not None and kind.name == platform.machine():
        return (own, "-static-pie")
    return (require_zig(), "cc", "-target", kind.zig, "-static", "-pie",
            "-fno-sanitize=undefined")  # fmt: skip


def require_zig() -> str:
    """Path of the cross compiler.

    Raises:
        MissingExtra: it is not installed.
    """
    package = importlib.util.find_spec("ziglang")
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder) / "zig"
        if os.access(program, os.X_OK):
            return str(program)
    raise MissingExtra(
        f"programs for devices without Python need the cross compiler zig: {INSTALL_HINT}"
    )


def zig_cache() -> str:
    """Where zig keeps the C libraries that it has built: the user's, since they take minutes."""
    import platformdirs

    return str(Path(platformdirs.user_cache_dir("lwprof", appauthor=False)) / "zig")


def link(kind: Machine, objects: Sequence[Path], tables: Path, program: Path) -> None:
    """Makes a static, position-independent executable.

    Args:
        objects: compiled kernels.
        tables: the C file that ``native_source.source`` wrote.
        program: the file to write.

    Raises:
        MissingExtra: no zig.
        HostError: it failed; the message ends in its last words.
    """
    with resources.as_file(resources.files("lwprof.agents.native") / "source") as sources:
        command = [
            *require_linker(kind), *_FLAGS, f"-I{sources}",
            *map(str, sorted(sources.glob("*.c"))), str(tables), *map(str, objects),
            "-o", str(program), "-lm", "-lpthread",
        ]  # fmt: skip
        cache = zig_cache()
        env = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=_LINK_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"the compiler {command[0]} does not run: {error}") from None
    if done.returncode != 0 or not program.is_file():
        last = " ".join(done.stderr.split())[-400:]
        raise HostError(f"linking the native program failed: {last}; reinstall it")
