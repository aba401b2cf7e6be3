"""The on-device program as one file, whose name is the hash of its content.

The same sources give the same bytes on every machine, so a device that has the file
already needs no copy, and a stale one can never run.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_PACKAGE = "lwprof_agent"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = f"import sys\nfrom {_PACKAGE}.__main__ import main\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Program:
    """The packed program.

    Attributes:
        data: a zip file that Python runs as it is.
        sha256: its digest, hexadecimal.
    """

    data: bytes
    sha256: str

    @property
    def file_name(self) -> str:
        """What the file is called on a device."""
        return f"lwprof-agent-{self.sha256[:16]}.pyz"


@cache
def program() -> Program:
    """The program of this installation."""
    data = pack(sources())
    return Program(data, hashlib.sha256(data).hexdigest())


def sources() -> dict[str, bytes]:
    """Content of the program's source files by name, folders included."""
    return dict(_sources(resources.files("lwprof.agents.program"), ""))


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")


def pack(files: dict[str, bytes]) -> bytes:
    """A deterministic zip of ``files`` as a package, with a ``__main__.py`` that runs it."""
    entries = {f"{_PACKAGE}/{name}": data for name, data in files.items()}
    entries["__main__.py"] = _MAIN.encode()
    buffer = io.BytesIO()
    # Stored, not compressed: compressors differ from one machine to the next.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3  # Unix, wherever it is packed
            archive.writestr(info, entries[name])
    return buffer.getvalue()
