"""The user's configuration folder and the one way TOML files are read and written there."""

from __future__ import annotations

import fcntl
import os
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lwprof.errors import HostError, UsageError

_MAX_BYTES = 1_000_000


def config_folder() -> Path:
    """``LWPROF_CONFIG``, else the user's configuration folder of lwprof."""
    given = os.environ.get("LWPROF_CONFIG")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_config_dir("lwprof", appauthor=False))


def read_toml(path: Path, text: str | None = None) -> dict[str, Any]:
    """The content of a TOML file.

    Args:
        path: the file; names it in errors.
        text: its text where it was read already.

    Raises:
        UsageError: unreadable, too large, or not TOML.
    """
    try:
        if text is None:
            if path.stat().st_size > _MAX_BYTES:
                raise UsageError(f"{path} is too large to be a configuration file")
            text = path.read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}; correct it with an editor") from None


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's text: a crash leaves the old one or the new one, never half of it.

    Raises:
        HostError: the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other lwprof processes from changing it meanwhile.

    Raises:
        HostError: the folder cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise HostError(f"cannot use the folder {folder}: {error.strerror or error}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # goes with the process, however it ends
        yield
    finally:
        os.close(handle)
