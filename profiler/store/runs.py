"""Runs: one command's worth of measuring, which an equal command can resume."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from lwprof.errors import StoreError
from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.database import Database, add, timestamp
from lwprof.profiler.store.records import Context, Run, request_digest

RESUME_WITHIN = timedelta(days=7)


class Runs(Database):
    """The part of a store that knows runs."""

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
                add(connection, schema.contexts, rows.context_row(context))
            if not add(connection, schema.runs, rows.run_row(run)):
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
        row = self.first(select(schema.runs).where(schema.runs.c.run_id == run_id))
        return None if row is None else rows.to_run(row)

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        order = (schema.runs.c.started_utc, schema.runs.c.run_id)
        return [rows.to_run(row) for row in self.all(select(schema.runs).order_by(*order))]

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
        row = self.first(query.order_by(schema.runs.c.started_utc.desc(), schema.runs.c.run_id))
        return None if row is None else rows.to_run(row)
