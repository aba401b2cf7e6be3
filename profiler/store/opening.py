"""Opening a store: make a new one, refuse what is not ours, bring an old one up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.engine import URL

from lwprof.errors import StoreError
from lwprof.profiler.store import engine as engines
from lwprof.profiler.store import schema
from lwprof.profiler.store.database import utc_now
from lwprof.profiler.store.location import is_memory, locate, shown, vet_file
from lwprof.profiler.store.store import Store


def open_store(
    url: str | os.PathLike[str] | None = None,
    *,
    readonly: bool = False,
    create: bool = True,
    clock: Callable[[], datetime] = utc_now,
) -> Store:
    """The store at ``url``, made when it does not exist yet.

    Args:
        url: a path, ``sqlite:///PATH``, ``postgresql://USER@HOST/DATABASE``, or None for the
            environment's ``LWPROF_STORE`` and then ``measurements.db`` in the user's data folder.
        readonly: open without ever writing; implies ``create=False``.
        create: make the store when there is none.
        clock: tells the wall time.

    Raises:
        StoreError: not a store of lwprof, damaged, locked, not readable or writable, of a
            newer version, or of an older one (which ``lwprof store migrate`` brings up to date).
        MissingExtra: PostgreSQL's driver is not installed.
    """
    location = locate(url)
    create = create and not readonly
    if location.drivername == "sqlite" and not is_memory(location):
        _prepare_file(Path(location.database or ""), create)
    engine = engines.connect(location, readonly=readonly)
    try:
        version = find_version(engine, location)
        if version is None:
            if not create:
                raise StoreError(f"there is no store at {shown(location)} yet: measure something")
            create_schema(engine, location)
        else:
            require_current(version, location)
            require_tables(engine, location)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, location, readonly=readonly, clock=clock)


def _prepare_file(path: Path, create: bool) -> None:
    kind = vet_file(path)
    if kind != "new":
        return
    if not create:
        raise StoreError(f"there is no store at {path} yet: measure something, or check --store")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path.parent}: {error.strerror}") from None


def find_version(engine: Engine, location: URL) -> int | None:
    """The schema version of the store, None when the database is empty.

    Raises:
        StoreError: the database holds something else, or cannot be read.
    """
    where = shown(location)
    with engines.reading(engine, location) as connection:
        if location.drivername == "sqlite":
            _refuse_programs(connection, where)
        names = set(inspect(connection).get_table_names())
        if not names & set(schema.metadata.tables):
            # A PostgreSQL database may well hold other tables; an SQLite file is one program's.
            if names and location.drivername == "sqlite":
                raise StoreError(f"{where} is an SQLite database of another program: name another")
            return None
        if "meta" not in names:
            raise StoreError(f"{where} is not a store of lwprof: it has no table 'meta'")
        columns = {column["name"] for column in inspect(connection).get_columns("meta")}
        if not {"name", "value"} <= columns:
            raise StoreError(f"{where} is not a store of lwprof: its table 'meta' differs")
        try:
            return stored_version(connection)
        except StoreError as error:
            raise StoreError(f"{where} is not a store of lwprof: {error}") from None


def stored_version(connection: Connection) -> int:
    """The schema version that the table ``meta`` tells; StoreError when it tells none."""
    found = connection.execute(
        select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
    ).scalar()
    if found is None or not str(found).isascii() or not str(found).isdigit():
        raise StoreError("it tells no schema version")
    return int(found)


def _refuse_programs(connection: Connection, where: str) -> None:
    """Refuses what would run when a crafted file is read or written: triggers and views."""
    odd = connection.execute(
        text("SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')")
    ).first()
    if odd is not None:
        raise StoreError(f"{where} is refused: it holds the {odd[0]} {odd[1]!r}, never one of ours")


def require_current(version: int, location: URL) -> None:
    """Refuses any schema version but the present one."""
    where = shown(location)
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"the store {where} was made by a newer lwprof (schema {version}, this one knows "
            f"{schema.SCHEMA_VERSION}): upgrade lwprof"
        )
    if version < schema.SCHEMA_VERSION:
        raise StoreError(
            f"the store {where} has the old schema {version}: run "
            f"'lwprof store migrate --store {where}'"
        )


def require_tables(engine: Engine, location: URL) -> None:
    """Refuses a database that lacks one of our tables or columns."""
    where = shown(location)
    with engines.reading(engine, location) as connection:
        inspector = inspect(connection)
        names = set(inspector.get_table_names())
        for table in schema.metadata.sorted_tables:
            if table.name not in names:
                raise StoreError(f"{where} is damaged: it lacks the table {table.name!r}")
            found = {column["name"] for column in inspector.get_columns(table.name)}
            missing = sorted({column.name for column in table.columns} - found)
            if missing:
                raise StoreError(
                    f"{where} is damaged: its table {table.name!r} lacks {', '.join(missing)}"
                )


def create_schema(engine: Engine, location: URL) -> None:
    """Makes our tables; another process that makes them at the same time does no harm."""
    use_write_ahead_log(engine, location)
    with engines.writing(engine, location) as connection:
        if location.drivername == "postgresql+psycopg":
            # Two creators at once would collide on the catalogue's own unique keys.
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"),
                               {"id": schema.APPLICATION_ID})  # fmt: skip
        make_tables(connection)


def use_write_ahead_log(engine: Engine, location: URL) -> None:
    """Lets readers and one writer of an SQLite file work at the same time."""
    if location.drivername != "sqlite" or is_memory(location):
        return
    with engines.translated(location):
        raw = engine.raw_connection()
        try:
            # Cannot change inside a transaction. A file system without shared memory keeps its
            # rollback journal, which is as safe and only slower.
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Somebody else is at it; whoever comes last has changed it.
            if "locked" not in str(error):
                raise
        finally:
            raw.close()


def make_tables(connection: Connection) -> None:
    """Creates what is missing and stamps the version, inside the caller's transaction."""
    schema.metadata.create_all(connection)
    stamp = select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
    if connection.execute(stamp).scalar() is None:
        connection.execute(
            schema.meta.insert(), {"name": "schema_version", "value": str(schema.SCHEMA_VERSION)}
        )
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={schema.SCHEMA_VERSION}")
