"""Finding TVM and describing the machine that it compiles for."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lwprof.errors import HostError, MissingExtra

INSTALL_HINT = "pip install 'lwprof[tvm]'"


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """What the schedule templates need to know about a processor's vector unit.

    Attributes:
        lanes: float32 values in one vector register; also the channel block of
            the blocked layouts.
        registers: architectural vector registers.
        target: TVM's description of the processor, the key of everything tuned for it.
    """

    lanes: int
    registers: int
    target: str


def require_tvm() -> Any:
    """Import TVM.

    Returns:
        The ``tvm`` module.

    Raises:
        MissingExtra: TVM is not installed, or only its runtime is.
    """
    try:
        import tvm
    except ImportError as error:
        raise MissingExtra(f"TVM is not installed ({error}); install it: {INSTALL_HINT}") from error
    except (OSError, RuntimeError) as error:
        raise MissingExtra(
            f"TVM is installed but does not load ({error}); reinstall it: {INSTALL_HINT}"
        ) from error
    if tvm.base._RUNTIME_ONLY:
        raise MissingExtra(
            "only TVM's runtime is loaded, so nothing can be compiled; unset TVM_USE_RUNTIME_LIB "
            f"or reinstall TVM: {INSTALL_HINT}"
        )
    return tvm


def require_linker() -> None:
    """Check that a C compiler can link what TVM generates.

    Raises:
        HostError: there is none.
    """
    chosen = os.environ.get("CXX") or os.environ.get("CC")
    if not any(
        shutil.which(name) for name in (chosen, "g++", "gcc", "clang++", "c++", "cc") if name
    ):
        raise HostError(
            "TVM needs a C compiler to link the compiled model and none was found; "
            "install gcc or clang, or name one in the environment variable CXX"
        )


def host_target(cores: int | None = None) -> Any:
    """Describe this machine as a TVM target.

    Args:
        cores: cores that kernels may use; all of them when None.

    Returns:
        A ``tvm.target.Target`` of kind llvm.
    """
    tvm = require_tvm()
    processor = tvm.target.codegen.llvm_get_system_cpu()
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": processor, "num-cores": cores or os.cpu_count() or 1}
    )


def vector_unit(target: Any) -> VectorUnit:
    """Read the vector width of a target from its LLVM features.

    ``llvm_get_vector_width`` of TVM 0.27 answers 512 for processors without
    AVX-512, so the features are asked one by one.

    Args:
        target: a ``tvm.target.Target``.
    """
    tvm = require_tvm()
    has = tvm.target.codegen.target_has_features
    triple = str(target.attrs.get("mtriple", "") or tvm.target.codegen.llvm_get_system_triple())
    name = f"{triple.split('-')[0]}:{target.attrs.get('mcpu', 'generic')}"
    if triple.startswith(("x86_64", "i686")) or platform.machine() == "x86_64" and not triple:
        if has("avx512f", target):
            return VectorUnit(16, 32, name)
        return VectorUnit(8, 16, name) if has("avx", target) else VectorUnit(4, 16, name)
    if triple.startswith("aarch64"):
        return VectorUnit(4, 32, name)
    return VectorUnit(4, 16, name)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep TVM's prints and warnings away from the caller's terminal."""
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def worker_threads(threads: int) -> Iterator[None]:
    """Let TVM's thread pool of this process use ``threads`` threads, then all again."""
    tvm = require_tvm()
    configure = tvm.get_global_func("runtime.config_threadpool")
    configure(1, threads)
    try:
        yield
    finally:
        configure(1, 0)
