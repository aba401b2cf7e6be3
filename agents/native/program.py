"""A network compiled into a program of its own, as the host hands it to a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one input or output lies.

    Attributes:
        offset: bytes from the begin of the data.
        nbytes: its size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class NativeProgram:
    """What a device needs to run a network that was compiled for it.

    Attributes:
        executable: static, for ``machine`` (as ``uname -m`` prints it).
        sha256: digest of the executable.
        digest: what the program says of itself in its first frame.
        weights: all constants in one file; None runs on pseudo-random ones, which are
            made on the device and take no time to carry there.
        runtime: version of the TVM that compiled the kernels.
    """

    executable: Path
    sha256: str
    digest: str
    weights: Path | None
    inputs: tuple[Slot, ...]
    input_bytes: int
    outputs: tuple[Slot, ...]
    machine: str
    runtime: str
