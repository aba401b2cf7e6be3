"""Connections: pragmas, transactions, and every database error as one clear line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from lwprof.errors import MissingExtra, StoreError
from lwprof.profiler.store.location import is_memory, shown

BUSY_TIMEOUT_S = 30.0
# Read when the connection's transaction begins.
_WRITING = {"lwprof_writing": True}


def connect(url: URL, *, readonly: bool = False) -> Engine:
    """An engine for the store at ``url``; nothing is opened yet.

    Args:
        url: as ``locate`` gave it.
        readonly: never write, not even a write-ahead log.

    Raises:
        MissingExtra: the driver of PostgreSQL is not installed.
    """
    if url.drivername != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True)
        except ImportError:
            raise MissingExtra(
                "a store on PostgreSQL needs its driver: pip install 'lwprof[postgres]'"
            ) from None
    return _sqlite_engine(url, readonly)


def _sqlite_engine(url: URL, readonly: bool) -> Engine:
    target, options = ":memory:", ""
    if not is_memory(url):
        path = Path(url.database or "").absolute()
        target = path.as_uri()
        options = "?mode=rwc"
        if readonly:
            # A log that was left behind can only be read where its index can be written.
            still = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
            options = "?mode=ro&immutable=1" if still else "?mode=ro"

    def open_file() -> sqlite3.Connection:
        return sqlite3.connect(
            target + options,
            uri=target != ":memory:",
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,  # transactions are begun below, explicitly
            check_same_thread=False,
        )

    pool = StaticPool if is_memory(url) else QueuePool
    engine = create_engine("sqlite://", creator=open_file, poolclass=pool)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        # A crafted file must not run functions or defend pages against being checked.
        cursor.execute("PRAGMA trusted_schema=OFF")
        cursor.execute("PRAGMA cell_size_check=ON")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        if readonly:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: upgrading a read lock later fails instead of waiting.
        writing = connection.get_execution_options().get("lwprof_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


@contextmanager
def reading(engine: Engine, url: URL) -> Iterator[Connection]:
    """A connection with one snapshot of the store.

    Raises:
        StoreError: whatever the database complains about.
    """
    options = {} if url.drivername == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with (
        translated(url),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def writing(engine: Engine, url: URL) -> Iterator[Connection]:
    """A connection whose changes are on disk when the block ends, or not at all.

    Raises:
        StoreError: whatever the database complains about.
    """
    with (
        translated(url),
        engine.connect().execution_options(**_WRITING) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turns database errors into StoreError."""
    where = shown(url)
    try:
        yield
    except IntegrityError as error:
        cause = _cause(error)
        if "foreign key" in cause.lower():
            cause = "the run, context or subject it belongs to was not stored first"
        raise StoreError(f"the store {where} refused a record: {cause}") from None
    except DBAPIError as error:
        raise StoreError(f"the store {where} {_explained(_cause(error))}") from None
    except sqlite3.Error as error:
        raise StoreError(f"the store {where} {_explained(str(error))}") from None
    except SQLAlchemyError as error:
        raise StoreError(f"the store {where} failed: {error}") from None


def _cause(error: DBAPIError) -> str:
    return str(error.orig).strip() or type(error.orig).__name__


def _explained(cause: str) -> str:
    text = cause.lower()
    for sign, explanation in _EXPLANATIONS.items():
        if sign in text:
            return explanation
    return f"failed: {cause}"


_EXPLANATIONS = {
    "database is locked": f"is locked by another program for more than {BUSY_TIMEOUT_S:.0f} s: "
    "end that program or try again",
    "readonly": "cannot be written: check the rights of the file and its folder",
    "unable to open": "cannot be opened: check that its folder exists and its rights",
    "not a database": "is damaged or no SQLite database: restore a copy, or name another file",
    "malformed": "is damaged: restore a copy, or name another file with --store",
    "disk is full": "ran out of disk: free some and run the same command again",
    "disk i/o": "cannot be read or written (disk I/O error): check the disk",
    "no such table": "lacks a table: it is damaged or not a store of lwprof",
    "no such column": "lacks a column: it is damaged or not a store of lwprof",
}
