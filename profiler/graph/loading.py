"""From whatever names a model to its bytes and its parsed protobuf. Nothing is trusted yet."""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from lwprof.errors import ModelError
from lwprof.profiler.graph.messages import quoted

# A protobuf message cannot be larger, so neither can a model that a runtime loads from bytes.
MAX_BYTES = 2**31 - 1
_PIECE_BYTES = 2**26

# What people pass by mistake, told by the first bytes.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer: run 'git lfs pull' to get the model itself"),
    (b"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint?): export the model to ONNX first"),
    (b"\x89HDF", "an HDF5 file (Keras?): export the model to ONNX first"),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint?): export the model to ONNX first"),
    (b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (b"<!DOCTYPE", "an HTML page: the download went wrong"),
    (b"<html", "an HTML page: the download went wrong"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A parsed model before any check.

    Attributes:
        proto: the parsed model; ours to change.
        name: file stem, zoo name or graph name.
        sha256: digest of the serialised bytes as given.
        size_bytes: length of those bytes.
        folder: where external data may lie; None when the model did not come from a file.
        where: what to call the model in messages.
    """

    proto: Any
    name: str
    sha256: str
    size_bytes: int
    folder: Path | None
    where: str


def load(model: Any, *, name: str | None = None, batch: int | None = None) -> Loaded:
    """Parses a path, ``-`` (standard input), bytes, a ``ModelProto`` or a zoo name.

    Raises:
        ModelError: nothing of that name, not a regular file, too large, or not ONNX.
    """
    if isinstance(model, onnx.ModelProto):
        return _from_proto(model, name or model.graph.name or "model")
    if isinstance(model, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(model), name or "model", None, "the model")
    if not isinstance(model, (str, os.PathLike)):
        raise ModelError(
            f"cannot read a model from {type(model).__name__}: "
            "give a path, a zoo name, bytes or an onnx.ModelProto"
        )
    text = os.fspath(model)
    if text == "-":
        data = _read_capped(sys.stdin.buffer, "standard input")
        return _from_bytes(data, name or "stdin", None, "standard input")
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        return _from_zoo(text, name, batch, error)
    return _from_file(path, mode, name)


def _from_file(path: Path, mode: int, name: str | None) -> Loaded:
    where = str(path)
    if stat.S_ISDIR(mode):
        found = ", ".join(sorted(p.name for p in path.glob("*.onnx"))[:5])
        raise ModelError(f"{where} is a folder: give a model in it ({found or 'no .onnx there'})")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise ModelError(f"{where} is not a regular file: give an .onnx file")
    try:
        with path.open("rb") as file:
            # A file that can be measured is read at once, without a second copy.
            known = stat.S_ISREG(mode) and os.fstat(file.fileno()).st_size <= MAX_BYTES
            data = file.read() if known else _read_capped(file, where)
    except OSError as error:
        raise ModelError(f"cannot read {where}: {error.strerror or error}") from error
    return _from_bytes(data, name or path.stem, path.parent, where)


def _read_capped(file: BinaryIO, where: str) -> bytes:
    """Everything in a file; in pieces, since asking for 2 GiB would set 2 GiB aside."""
    pieces, total = [], 0
    while piece := file.read(_PIECE_BYTES):
        pieces.append(piece)
        total += len(piece)
        if total > MAX_BYTES:
            raise ModelError(f"{where} is larger than 2 GiB, the limit of an ONNX file")
    return b"".join(pieces)


def _from_bytes(data: bytes, name: str, folder: Path | None, where: str) -> Loaded:
    if not data:
        raise ModelError(f"{where} is empty: give an ONNX model")
    for magic, what in _FOREIGN:
        if data.startswith(magic):
            raise ModelError(f"{where} is {what}")
    if data[4:8] == b"TFL3":
        raise ModelError(f"{where} is a TensorFlow Lite model: convert it to ONNX first")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise ModelError(
            f"{where} is not an ONNX model, or is truncated, corrupt or nested too deeply "
            f"({len(data)} bytes): export or copy it again"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    return Loaded(proto, name, digest, len(data), folder, where)


def _from_proto(model: Any, name: str) -> Loaded:
    try:
        data = model.SerializeToString(deterministic=True)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the model cannot be serialised: {error}") from error
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return Loaded(copy, name, hashlib.sha256(data).hexdigest(), len(data), None, "the model")


def _from_zoo(text: str, name: str | None, batch: int | None, error: Exception) -> Loaded:
    from lwprof import zoo

    names: list[str] = sorted(getattr(zoo, "list", list)())
    if text in names or zoo.is_sampled(text):
        proto = zoo.build(text) if batch is None else zoo.build(text, batch=batch)
        return _from_proto(proto, name or text)
    if isinstance(error, PermissionError):
        raise ModelError(f"cannot read {text}: permission denied")
    near = difflib.get_close_matches(text, names, 3, 0.5)
    near += difflib.get_close_matches(Path(text).name, _neighbours(text), 3, 0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "'lwprof zoo' lists the networks"
    raise ModelError(f"no file and no zoo network is called {quoted(text)}: {hint}") from error


def _neighbours(text: str) -> list[str]:
    folder = Path(text).parent
    try:
        return [entry.name for entry in folder.iterdir() if entry.suffix == ".onnx"][:1000]
    except (OSError, ValueError):
        return []
