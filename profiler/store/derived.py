"""What follows from blocks: kernel lists and derived numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, select

from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.codec import digest, pack, unpack
from lwprof.profiler.store.database import PAGE, Database, add, same
from lwprof.profiler.store.records import Fact


class Derived(Database):
    """The part of a store that knows kernel lists and facts."""

    def put_kernels(self, subject: str, context: str, kernels: Mapping[str, Any]) -> None:
        """Stores which kernels a model becomes in a context; the latest one stored counts."""
        table = schema.kernels
        key = {"subject": subject, "context": context, "digest": digest(kernels)}
        row = {**key, "stored_utc": self.now(), "data": pack(kernels)}
        with self.writing() as connection:
            if not add(connection, table, row):
                same = and_(*(table.c[name] == value for name, value in key.items()))
                connection.execute(table.update().where(same).values(stored_utc=row["stored_utc"]))

    def kernels(self, subject: str, context: str) -> dict[str, Any] | None:
        """What ``put_kernels`` stored last, None when nothing."""
        table = schema.kernels
        row = self.first(
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
                if not add(connection, table, row):
                    connection.execute(table.update().where(same(table, row)).values(**row))

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
        return [rows.to_fact(row) for row in self.all(query)]

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
        for start in range(0, len(keys), PAGE):
            query = (
                select(table)
                .join(schema.runs, schema.runs.c.run_id == table.c.run_id)
                .where(table.c.context == context, table.c.subject.in_(keys[start : start + PAGE]))
                # "imported" sorts before "measured_here", so what is measured comes later.
                .order_by(table.c.origin, schema.runs.c.started_utc, table.c.run_id)
            )
            for row in self.all(query):
                fact = rows.to_fact(row)
                found.setdefault(fact.subject, {})[fact.quantity] = fact
        return found
