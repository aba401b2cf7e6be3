"""The store: every finished block is on disk before the call that stored it returns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from lwprof.errors import StoreError
from lwprof.profiler.store import engine as engines
from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.codec import digest, pack, unpack
from lwprof.profiler.store.location import shown
from lwprof.profiler.store.records import (
    Block,
    Context,
    Device,
    Fact,
    Run,
    Subject,
    request_digest,
)

RESUME_WITHIN = timedelta(days=7)
_PAGE = 200  # rows a query fetches at once; also stays below SQLite's limit of parameters


def utc_now() -> datetime:
    """The wall clock, for display and order only."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """``moment`` as text whose order is the order of time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """An open store. Use ``open_store``; close it, or use it as a context manager.

    Safe to use from several threads and processes at once: every method is one
    transaction. Records that exist are never changed, except that a run gets finished, a
    device gets new facts and derived facts are replaced when they are computed again.

    Every method raises StoreError for whatever the database complains about and for
    records that do not hold what they should.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Transactions, also for the modules that merge, export and import.

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

    # Runs.

    def begin_run(
        self,
        request: Mapping[str, Any],
        *,
        kind: str,
        context: Context | None = None,
        lwprof_version: str | None = None,
        run_id: str | None = None,
    ) -> Run:
        """Starts a run and stores it.

        Args:
            request: everything that determines what will be measured; an equal request
                resumes this run while it is unfinished.
            kind: ``measure``, ``compare``, ``campaign`` …
            context: its context when all its blocks share one; stored too.
            lwprof_version: the present version by default.
            run_id: a fresh random one by default.
        """
        from lwprof import __version__

        run = Run(
            run_id=run_id or uuid.uuid4().hex,
            request_digest=request_digest(request),
            kind=kind,
            context=None if context is None else context.key,
            started_utc=self.now(),
            lwprof_version=lwprof_version or __version__,
            request=dict(request),
        )
        with self.writing() as connection:
            if context is not None:
                _add(connection, schema.contexts, rows.context_row(context))
            if not _add(connection, schema.runs, rows.run_row(run)):
                raise StoreError(f"the store {self.url} already has a run {run.run_id!r}")
        return run

    def resume(self, digest: str) -> Run | None:
        """The latest unfinished run of this request digest that is at most seven days old."""
        earliest = timestamp(self._clock() - RESUME_WITHIN)
        query = (
            select(schema.runs)
            .where(
                schema.runs.c.request_digest == digest,
                schema.runs.c.finished_utc.is_(None),
                schema.runs.c.started_utc >= earliest,
            )
            .order_by(schema.runs.c.started_utc.desc(), schema.runs.c.run_id)
            .limit(1)
        )
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else rows.to_run(row)

    def finish_run(self, run_id: str) -> None:
        """Marks a run as finished; doing it twice keeps the first time."""
        table = schema.runs
        with self.writing() as connection:
            connection.execute(
                table.update()
                .where(table.c.run_id == run_id, table.c.finished_utc.is_(None))
                .values(finished_utc=self.now())
            )

    def run(self, run_id: str) -> Run | None:
        """The run of this id, None when there is none."""
        row = self._first(select(schema.runs).where(schema.runs.c.run_id == run_id))
        return None if row is None else rows.to_run(row)

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        order = (schema.runs.c.started_utc, schema.runs.c.run_id)
        return [rows.to_run(row) for row in self._all(select(schema.runs).order_by(*order))]

    def latest_run(self, subject: str, context: str, *, finished: bool = False) -> Run | None:
        """The latest run that holds blocks of a subject in a context.

        Args:
            subject: key of the subject.
            context: key of the context.
            finished: leave out runs that were never finished.
        """
        wanted = select(schema.blocks.c.run_id).where(
            schema.blocks.c.subject == subject, schema.blocks.c.context == context
        )
        query = select(schema.runs).where(schema.runs.c.run_id.in_(wanted))
        if finished:
            query = query.where(schema.runs.c.finished_utc.is_not(None))
        row = self._first(query.order_by(schema.runs.c.started_utc.desc(), schema.runs.c.run_id))
        return None if row is None else rows.to_run(row)

    # Devices, contexts, subjects.

    def put_device(self, device: Device) -> None:
        """Stores a device; one of the same hardware id gets the new name, board and facts."""
        table, row = schema.devices, rows.device_row(device)
        with self.writing() as connection:
            if not _add(connection, table, row):
                connection.execute(
                    table.update().where(table.c.hardware_id == device.hardware_id).values(**row)
                )

    def devices(self) -> list[Device]:
        """All devices that were ever measured on, by name."""
        order = (schema.devices.c.name, schema.devices.c.hardware_id)
        return [rows.to_device(row) for row in self._all(select(schema.devices).order_by(*order))]

    def put_context(self, context: Context) -> str:
        """Stores a context if it is new; returns its key."""
        row = rows.context_row(context)
        with self.writing() as connection:
            _add(connection, schema.contexts, row)
        return str(row["key"])

    def context(self, key: str) -> Context | None:
        """The context of this key, None when there is none."""
        row = self._first(select(schema.contexts).where(schema.contexts.c.key == key))
        return None if row is None else rows.to_context(row)

    def contexts(self, device: str | None = None) -> list[Context]:
        """Contexts, of one device (by hardware id) or all, in a stable order."""
        query = select(schema.contexts)
        if device is not None:
            query = query.where(schema.contexts.c.hardware_id == device)
        found = [rows.to_context(row) for row in self._all(query)]
        return sorted(found, key=lambda context: (context.describe(), context.key))

    def put_subject(self, subject: Subject) -> str:
        """Stores a subject if its key is new; returns its key."""
        with self.writing() as connection:
            _add(connection, schema.subjects, rows.subject_row(subject))
        return subject.key

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Stores many subjects in one transaction."""
        with self.writing() as connection:
            for subject in subjects:
                _add(connection, schema.subjects, rows.subject_row(subject))

    def subject(self, key: str) -> Subject | None:
        """The subject of this key, None when there is none."""
        row = self._first(select(schema.subjects).where(schema.subjects.c.key == key))
        return None if row is None else rows.to_subject(row)

    def subjects(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        context: str | None = None,
        run: str | None = None,
    ) -> list[Subject]:
        """Subjects by kind, name, or by having blocks or facts in a context or run."""
        query = select(schema.subjects)
        if kind is not None:
            query = query.where(schema.subjects.c.kind == kind)
        if name is not None:
            query = query.where(schema.subjects.c.name == name)
        if context is not None or run is not None:
            query = query.where(
                schema.subjects.c.key.in_(
                    _keys(schema.blocks, context, run).union(_keys(schema.facts, context, run))
                )
            )
        order = (schema.subjects.c.kind, schema.subjects.c.name, schema.subjects.c.key)
        return [rows.to_subject(row) for row in self._all(query.order_by(*order))]

    # Blocks.

    def put_block(self, block: Block) -> bool:
        """Stores a finished block; when this returns, the block survives a crash.

        Returns:
            True when it was stored, False when a block of this id was there already, which
            is left as it is.

        Raises:
            StoreError: its run, context or subject is unknown, its payload is no JSON or
                holds NaN, or the database refuses.
        """
        row = rows.block_row(block)
        with self.writing() as connection:
            return _add(connection, schema.blocks, row)

    def blocks(
        self,
        *,
        run: str | None = None,
        subject: str | None = None,
        context: str | None = None,
        arm: str | None = None,
        payload: bool = True,
    ) -> Iterator[Block]:
        """Blocks that match every given key, oldest first.

        Args:
            run: id of the run.
            subject: key of the subject.
            context: key of the context.
            arm: the arm's name.
            payload: False leaves the payloads empty, which is much quicker.
        """
        table = schema.blocks
        given = {"run_id": run, "subject": subject, "context": context, "arm": arm}
        wanted = [table.c[name] == value for name, value in given.items() if value is not None]
        order = (table.c.started_utc, table.c.run_id, table.c.sequence, table.c.block_id)
        with self.reading() as connection:
            ids = list(
                connection.execute(select(table.c.block_id).where(*wanted).order_by(*order))
                .scalars()
            )  # fmt: skip
        columns = [column for column in table.columns if payload or column.name != "payload"]
        # Page by page, so that a slow reader neither holds all payloads nor a transaction.
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            query = select(*columns).where(table.c.block_id.in_(page))
            found = {row["block_id"]: row for row in self._all(query)}
            for block_id in page:
                if block_id in found:
                    yield rows.to_block(found[block_id], payload=payload)

    def count_blocks(self, *, run: str | None = None) -> int:
        """Number of blocks, of a run or of all."""
        query = select(func.count()).select_from(schema.blocks)
        if run is not None:
            query = query.where(schema.blocks.c.run_id == run)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    # Kernels and derived facts.

    def put_kernels(self, subject: str, context: str, kernels: Mapping[str, Any]) -> None:
        """Stores which kernels a model becomes in a context; the latest one stored counts."""
        table = schema.kernels
        key = {"subject": subject, "context": context, "digest": digest(kernels)}
        row = {**key, "stored_utc": self.now(), "data": pack(kernels)}
        with self.writing() as connection:
            if not _add(connection, table, row):
                same = and_(*(table.c[name] == value for name, value in key.items()))
                connection.execute(table.update().where(same).values(stored_utc=row["stored_utc"]))

    def kernels(self, subject: str, context: str) -> dict[str, Any] | None:
        """What ``put_kernels`` stored last, None when nothing."""
        table = schema.kernels
        row = self._first(
            select(table)
            .where(table.c.subject == subject, table.c.context == context)
            .order_by(table.c.stored_utc.desc(), table.c.digest)
        )
        if row is None:
            return None
        return unpack(row["data"], f"kernel list of {subject!r}")

    def put_facts(self, facts: Iterable[Fact]) -> None:
        """Stores derived numbers, replacing those of the same run, context, subject, quantity."""
        table = schema.facts
        now = self.now()
        with self.writing() as connection:
            for fact in facts:
                row = rows.fact_row(fact if fact.derived_utc else replace(fact, derived_utc=now))
                if not _add(connection, table, row):
                    connection.execute(table.update().where(_same(table, row)).values(**row))

    def facts(
        self,
        *,
        run: str | None = None,
        subject: str | None = None,
        context: str | None = None,
        quantity: str | None = None,
    ) -> list[Fact]:
        """Derived numbers that match every given key, oldest run first."""
        table = schema.facts
        given = {"run_id": run, "subject": subject, "context": context, "quantity": quantity}
        wanted = [table.c[name] == value for name, value in given.items() if value is not None]
        query = (
            select(table)
            .join(schema.runs, schema.runs.c.run_id == table.c.run_id)
            .where(*wanted)
            .order_by(schema.runs.c.started_utc, table.c.run_id, table.c.subject, table.c.quantity)
        )
        return [rows.to_fact(row) for row in self._all(query)]

    def lookup(self, subjects: Sequence[str], context: str) -> dict[str, dict[str, Fact]]:
        """The latest derived numbers of workloads (or models) in a context.

        Numbers measured here win over imported ones, then the latest run wins.

        Args:
            subjects: their keys.
            context: key of the context.

        Returns:
            key → quantity → fact. Keys of which the store knows nothing are absent.
        """
        table = schema.facts
        found: dict[str, dict[str, Fact]] = {}
        keys = list(dict.fromkeys(subjects))
        for start in range(0, len(keys), _PAGE):
            query = (
                select(table)
                .join(schema.runs, schema.runs.c.run_id == table.c.run_id)
                .where(table.c.context == context, table.c.subject.in_(keys[start : start + _PAGE]))
                # "imported" sorts before "measured_here", so what is measured comes later.
                .order_by(table.c.origin, schema.runs.c.started_utc, table.c.run_id)
            )
            for row in self._all(query):
                fact = rows.to_fact(row)
                found.setdefault(fact.subject, {})[fact.quantity] = fact
        return found

    def _first(self, query: Any) -> rows.Row | None:
        with self.reading() as connection:
            row: rows.Row | None = connection.execute(query.limit(1)).mappings().first()
            return row

    def _all(self, query: Any) -> Sequence[rows.Row]:
        with self.reading() as connection:
            found: Sequence[rows.Row] = connection.execute(query).mappings().all()
            return found


def _keys(table: Table, context: str | None, run: str | None) -> Any:
    query = select(table.c.subject)
    if context is not None:
        query = query.where(table.c.context == context)
    if run is not None:
        query = query.where(table.c.run_id == run)
    return query


def _same(table: Table, row: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key.columns))


def _add(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Inserts a row unless its primary key is there; says whether it did.

    Portable: no dialect's own upsert. SQLite's writer is alone, so the look before the
    leap is exact; on PostgreSQL a rival may come between, which the savepoint catches.
    """
    here = select(1).select_from(table).where(_same(table, row))
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
