"""Reading /proc and /sys, wherever they are.

``LWPROF_SYSROOT`` puts a prefix before both, so that a fake tree can stand in for a
board; results say so. A source that is missing or unreadable is None, never 0.
"""

from __future__ import annotations

import glob
import itertools
import os
from typing import List, Optional

_MOST = 4 * 1024 * 1024
_CHUNK = 16 * 1024


def sysroot() -> str:
    """The prefix of /proc and /sys; empty on a real system."""
    return os.environ.get("LWPROF_SYSROOT", "").rstrip("/")


def place(path: str) -> str:
    """Where ``path`` (absolute) really lies."""
    return sysroot() + path


def read_text(path: str) -> Optional[str]:
    """Text of a file under /proc or /sys, without trailing white space and NULs."""
    try:
        with open(place(path), "rb", buffering=0) as file:
            # In small pieces: /proc/sys refuses to fill a large buffer.
            chunks = iter(lambda: file.read(_CHUNK), b"")
            data = b"".join(itertools.islice(chunks, _MOST // _CHUNK))
    except OSError:
        return None
    # Device-tree strings end in NUL, without a line end.
    return data.decode("utf-8", "replace").replace("\0", "\n").strip()


def read_int(path: str) -> Optional[int]:
    """The whole number, perhaps negative, that a file holds."""
    text = read_text(path) or ""
    figure = count(text[1:] if text.startswith("-") else text)
    return -figure if figure is not None and text.startswith("-") else figure


def count(text: Optional[str]) -> Optional[int]:
    """The whole number, not negative, that ``text`` holds; None for anything else.

    Bounded, since no real counter, frequency or size comes near, and junk may.
    """
    stripped = (text or "").strip()
    if not stripped.isascii() or not stripped.isdecimal() or len(stripped) > 18:
        return None
    return int(stripped)


def read_count(path: str) -> Optional[int]:
    """``count`` of a file's text."""
    return count(read_text(path))


def find(pattern: str) -> List[str]:
    """Paths (without the prefix) that match, in natural order."""
    prefix = sysroot()
    found = [path[len(prefix) :] for path in glob.glob(prefix + pattern)]
    return sorted(found, key=_natural)


def cpu_list(text: Optional[str]) -> List[int]:
    """CPUs of a kernel list such as ``0-3,6``; empty where it cannot be read."""
    cpus: List[int] = []
    for part in "".join((text or "").split()).split(","):
        first, _, last = part.partition("-")
        start, end = count(first), count(last or first)
        if start is not None and end is not None and end - start < 65536:
            cpus.extend(range(start, end + 1))
    return cpus


def _natural(path: str) -> List[object]:
    out: List[object] = []
    digits = ""
    for char in path + "\0":
        if char.isdigit():
            digits += char
            continue
        if digits:
            out += ["", int(digits)]
            digits = ""
        out += [char, 0]
    return out
