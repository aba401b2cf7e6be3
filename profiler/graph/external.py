"""External data: weights that a model keeps in files beside it.

A model says where its weights lie, so a hostile one could name any file of the machine.
Only regular files inside the model's own folder are read, links resolved first, and every
length is checked against the file before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import TensorProto

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NAMES, nbytes
from lwprof.profiler.graph.loading import MAX_BYTES, Loaded
from lwprof.profiler.graph.messages import quoted
from lwprof.profiler.graph.scopes import stored_tensors


@dataclass(frozen=True, slots=True)
class External:
    """What was read: its digest and its length; both empty when there was none."""

    sha256: str
    size_bytes: int


def absorb(loaded: Loaded) -> External:
    """Moves all external data of a model inside it.

    Raises:
        ModelError: no folder to look in, a location outside of it, a missing or short file,
            or more than 2 GiB altogether.
    """
    outside = [t for t in stored_tensors(loaded.proto) if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return External("", 0)
    if loaded.folder is None:
        raise ModelError(
            f"{loaded.where} keeps weights in other files, and has no folder to find them in: "
            "give the path of the .onnx file"
        )
    digest, total = hashlib.sha256(), loaded.size_bytes
    for tensor in outside:
        place = _Place.of(tensor)
        total += place.length
        if total > MAX_BYTES:
            raise ModelError(f"{loaded.where} with its external data is larger than 2 GiB")
        data = _read(loaded, tensor.name, place)
        digest.update(data)
        tensor.raw_data = data
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
    return External(digest.hexdigest(), total - loaded.size_bytes)


@dataclass(frozen=True, slots=True)
class _Place:
    location: str
    offset: int
    length: int

    @classmethod
    def of(cls, tensor: Any) -> _Place:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        elements = 1
        for extent in tensor.dims:
            elements *= extent
        needed = nbytes(NAMES.get(tensor.data_type), elements)
        try:
            location = entries["location"]
            offset = int(entries.get("offset") or 0)
            length = int(entries["length"]) if entries.get("length") else needed
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"weight {quoted(tensor.name)} does not say properly where its data lies"
            ) from error
        if needed is None or length != needed or offset < 0 or not isinstance(location, str):
            raise ModelError(
                f"weight {quoted(tensor.name)} needs {needed} bytes of external data, "
                f"and the model points at {length} from byte {offset}"
            )
        return cls(location, offset, length)


def _read(loaded: Loaded, name: str, place: _Place) -> bytes:
    assert loaded.folder is not None
    label = f"external data {quoted(place.location)} of weight {quoted(name)}"
    folder = loaded.folder.resolve()
    try:
        path = (folder / place.location).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{label} is not a usable file name") from error
    if Path(place.location).is_absolute() or not path.is_relative_to(folder):
        raise ModelError(f"{label} lies outside the model's folder: refused")
    try:
        return _read_regular(path, place, label)
    except OSError as error:
        raise ModelError(
            f"{label} cannot be read ({error.strerror}): keep it beside the model"
        ) from error


def _read_regular(path: Path, place: _Place, label: str) -> bytes:
    # Non-blocking, so that a pipe put in the file's place cannot hang us.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{label} is not a regular file: refused")
        if place.offset + place.length > status.st_size:
            raise ModelError(
                f"{label} is too short: {place.offset + place.length} bytes are needed, "
                f"the file has {status.st_size}"
            )
        with open(handle, "rb", closefd=False) as file:
            file.seek(place.offset)
            return file.read(place.length)
    finally:
        os.close(handle)
