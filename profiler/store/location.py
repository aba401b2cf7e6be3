"""Where a store is: a path or URL becomes a SQLAlchemy URL, and an SQLite file is vetted unopened."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lwprof.errors import StoreError
from lwprof.profiler.store.schema import APPLICATION_ID

_SQLITE_MAGIC = b"SQLite format 3\x00"
_APPLICATION_ID_OFFSET = 68  # https://sqlite.org/fileformat2.html#the_database_header
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg",
            "postgresql+psycopg": "postgresql+psycopg", "sqlite": "sqlite"}  # fmt: skip


def default_path() -> Path:
    """``measurements.db`` in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("lwprof", appauthor=False)) / "measurements.db"


def locate(url: str | os.PathLike[str] | None) -> URL:
    """The URL of a store.

    Args:
        url: a path, ``sqlite:///path``, ``postgresql://…``, or None for ``LWPROF_STORE`` and
            then the default path.

    Raises:
        StoreError: neither a path nor a URL of a database that lwprof speaks.
    """
    text = os.fspath(url) if url is not None else os.environ.get("LWPROF_STORE") or None
    if text is None:
        return URL.create("sqlite", database=str(default_path()))
    if not text or "\x00" in text:
        raise StoreError("the store's path is empty: give a file or a URL with --store")
    if "://" not in text:
        path = Path(text).expanduser()
        return URL.create("sqlite", database=os.path.abspath(path))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        # The text itself may hold a password, so it is not repeated.
        raise StoreError(
            "cannot read the store's URL: write a path, sqlite:///PATH or postgresql://…"
        ) from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise StoreError(
            f"a store cannot be kept in {parsed.drivername!r}: use a path, sqlite:///PATH or "
            "postgresql://USER@HOST/DATABASE"
        )
    if driver == "sqlite" and (parsed.query or parsed.host):
        raise StoreError("an SQLite store's URL is sqlite:///PATH and takes no options")
    return parsed.set(drivername=driver)


def predictors_folder(url: str | os.PathLike[str] | None) -> Path:
    """Where predictors fitted from a store are kept: beside its file, or among the user's data.

    Raises:
        StoreError: as ``locate``.
    """
    found = locate(url)
    if found.drivername == "sqlite" and found.database and not is_memory(found):
        path = Path(found.database)
        return path.with_name(f"{path.stem}.predictors")
    import platformdirs

    return Path(platformdirs.user_data_dir("lwprof", appauthor=False)) / "predictors"


def shown(url: URL) -> str:
    """The URL for people, without its password; an SQLite one as its path."""
    if url.drivername == "sqlite":
        return url.database or ":memory:"
    return url.render_as_string(hide_password=True)


def is_memory(url: URL) -> bool:
    """Whether this is an SQLite store that dies with the process."""
    return url.drivername == "sqlite" and url.database in (None, "", ":memory:")


def vet_file(path: Path) -> str:
    """What the file at ``path`` is, read from its first hundred bytes only.

    Returns:
        ``new`` (nothing there or empty), ``ours`` (carries our application id), or
        ``sqlite`` (an SQLite database that somebody else, or an old lwprof, made).

    Raises:
        StoreError: a folder, unreadable, or no SQLite database.
    """
    try:
        if path.is_dir():
            raise StoreError(f"the store {path} is a folder: name a file in it")
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return "new"
    except OSError as error:
        raise StoreError(f"cannot read the store {path}: {error.strerror}") from None
    if not header:
        return "new"
    if len(header) < 100 or not header.startswith(_SQLITE_MAGIC):
        raise StoreError(f"{path} is not a store of lwprof: it is no SQLite database")
    (marked,) = struct.unpack_from(">I", header, _APPLICATION_ID_OFFSET)
    return "ours" if marked == APPLICATION_ID else "sqlite"
