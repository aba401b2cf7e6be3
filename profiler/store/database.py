"""Transactions and the few queries that every part of a store is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from lwprof.errors import StoreError
from lwprof.profiler.store import engine as engines
from lwprof.profiler.store.location import shown
from lwprof.profiler.store.rows import Row

PAGE = 200  # rows a query fetches at once; also stays below SQLite's limit of parameters


def utc_now() -> datetime:
    """The wall clock, for display and order only."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """``moment`` as text whose order is the order of time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Database:
    """An open database and its clock.

    Args:
        engine: as ``connect`` gave it.
        location: where it is, for messages.
        readonly: refuse to write.
        clock: tells the wall time.
    """

    def __init__(
        self,
        engine: Engine,
        location: URL,
        *,
        readonly: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._location = location
        self._clock = clock
        self.readonly = readonly

    @property
    def url(self) -> str:
        """Where the store is, without passwords; a path for SQLite."""
        return shown(self._location)

    def close(self) -> None:
        """Lets go of the database. Everything stored is on disk already."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """One consistent snapshot to read from."""
        return engines.reading(self._engine, self._location)

    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction: all of it is stored, or nothing."""
        if self.readonly:
            raise StoreError(f"the store {self.url} was opened for reading only")
        return engines.writing(self._engine, self._location)

    def now(self) -> str:
        """The present as stored in records."""
        return timestamp(self._clock())

    def first(self, query: Any) -> Row | None:
        with self.reading() as connection:
            row: Row | None = connection.execute(query.limit(1)).mappings().first()
            return row

    def all(self, query: Any) -> Sequence[Row]:
        with self.reading() as connection:
            found: Sequence[Row] = connection.execute(query).mappings().all()
            return found


def same(table: Table, row: Row) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key.columns))


def add(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Inserts a row unless its primary key is there; says whether it did.

    Portable: no dialect's own upsert. SQLite's writer is alone, so the look before the
    leap is exact; on PostgreSQL a rival may come between, which the savepoint catches.
    """
    here = select(1).select_from(table).where(same(table, row))
    if connection.execute(here).first() is not None:
        return False
    if connection.dialect.name == "sqlite":
        connection.execute(table.insert(), dict(row))
        return True
    try:
        with connection.begin_nested():
            connection.execute(table.insert(), dict(row))
    except IntegrityError:
        if connection.execute(here).first() is not None:
            return False
        raise
    return True
