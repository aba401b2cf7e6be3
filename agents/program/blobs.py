"""Files by the SHA-256 of their content, under WORKDIR/blobs."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import Any, Dict, List, Tuple

from .failures import Failure

_CHUNK = 1 << 20


def digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            total.update(chunk)
    return total.hexdigest()


class Blobs:
    """The files of one work directory.

    Args:
        folder: WORKDIR/blobs; made when it does not exist.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._verified: Dict[str, Tuple[int, int, int]] = {}
        os.makedirs(folder, exist_ok=True)

    def path(self, sha256: str) -> str:
        """The file with this content; it is read through on its first use.

        Raises:
            Failure: kind ``blob``; it is absent, or its content is another one (it is
                then removed, so that it can be sent again).
        """
        path = os.path.join(self._folder, sha256)
        try:
            status = os.stat(path)
        except OSError:
            raise Failure(
                "blob", "the device does not hold the file %s" % sha256[:12], transient=True
            ) from None
        mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._verified.get(sha256) != mark:
            if digest(path) != sha256:
                os.remove(path)
                raise Failure(
                    "blob",
                    "the file %s was damaged on the device and is removed" % sha256[:12],
                    transient=True,
                )
            self._verified[sha256] = mark
        # Least recently used files go first when the space is needed.
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
        return path

    def missing(self, hashes: List[str]) -> List[str]:
        """Those that are not here."""
        return [sha for sha in hashes if not os.path.isfile(os.path.join(self._folder, sha))]

    def adopt(self, path: str) -> Dict[str, Any]:
        """Moves a file that was made here among the blobs: ``sha256`` and ``size_bytes``."""
        sha = digest(path)
        size = os.path.getsize(path)
        os.replace(path, os.path.join(self._folder, sha))
        return {"sha256": sha, "size_bytes": size}

    def split(self, sha256: str, parts: List[Tuple[str, int]]) -> None:
        """Cuts a blob into blobs, in the order given, and removes it.

        Args:
            parts: SHA-256 and size of each.

        Raises:
            Failure: kind ``blob``; the blob is absent or damaged, or holds other parts.
        """
        path = self.path(sha256)
        with open(path, "rb") as file:
            for sha, size in parts:
                data = file.read(size)
                if hashlib.sha256(data).hexdigest() != sha:
                    raise Failure("blob", "a packed file holds other parts", side="host")
                part = os.path.join(self._folder, sha)
                with open(part + ".incoming", "wb") as out:
                    out.write(data)
                os.replace(part + ".incoming", part)
        if sha256 not in [sha for sha, _ in parts]:
            os.remove(path)

    def join(self, paths: List[str], into: str) -> Dict[str, Any]:
        """One blob of several files, one after the other: ``sha256`` and ``size_bytes``."""
        with open(into, "wb") as out:
            for path in paths:
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, out, _CHUNK)
        return self.adopt(into)

    def arrange(self, sha256: str, files: Dict[str, str], folder: str) -> str:
        """A model with external data: its file and theirs, side by side in ``folder``.

        Args:
            files: relative name of each data file (no folders) to its SHA-256.
        """
        os.makedirs(folder, exist_ok=True)
        model = os.path.join(folder, "model.onnx")
        for name, source in [("model.onnx", self.path(sha256))] + [
            (name, self.path(sha)) for name, sha in sorted(files.items())
        ]:
            if os.path.basename(name) != name or name in ("", ".", ".."):
                raise Failure("request", "bad name of a data file: %r" % name, side="host")
            _link(source, os.path.join(folder, name))
        return model


def _link(source: str, target: str) -> None:
    if os.path.exists(target):
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
