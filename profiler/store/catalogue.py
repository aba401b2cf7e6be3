"""What was measured and where: devices, contexts, subjects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Table, or_, select

from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.codec import digest
from lwprof.profiler.store.database import Database, add, same
from lwprof.profiler.store.records import Context, Device, Subject


class Catalogue(Database):
    """The part of a store that knows devices, contexts and subjects."""

    def put_device(self, device: Device) -> None:
        """Stores a device; one of the same hardware id gets the new name, board and facts.

        A name belongs to one device: another that had it (an imported ``host``, say) is
        renamed after its hardware id.
        """
        table, row = schema.devices, rows.device_row(device)
        with self.writing() as connection:
            others = select(table).where(
                table.c.name == row["name"],
                table.c.name != "",
                table.c.hardware_id != device.hardware_id,
            )
            for other in connection.execute(others).mappings().all():
                renamed = _distinct(other["name"], other["hardware_id"])
                connection.execute(table.update().where(same(table, other)).values(name=renamed))
            if not add(connection, table, row):
                connection.execute(
                    table.update().where(table.c.hardware_id == device.hardware_id).values(**row)
                )

    def devices(self) -> list[Device]:
        """All devices that were ever measured on, by name."""
        order = (schema.devices.c.name, schema.devices.c.hardware_id)
        return [rows.to_device(row) for row in self.all(select(schema.devices).order_by(*order))]

    def put_context(self, context: Context) -> str:
        """Stores a context if it is new; returns its key."""
        row = rows.context_row(context)
        with self.writing() as connection:
            add(connection, schema.contexts, row)
        return str(row["key"])

    def context(self, key: str) -> Context | None:
        """The context of this key, None when there is none."""
        row = self.first(select(schema.contexts).where(schema.contexts.c.key == key))
        return None if row is None else rows.to_context(row)

    def contexts(self, device: str | None = None) -> list[Context]:
        """Contexts, of one device (by name or hardware id) or all, in a stable order."""
        query = select(schema.contexts)
        if device is not None:
            named = select(schema.devices.c.hardware_id).where(schema.devices.c.name == device)
            column = schema.contexts.c.hardware_id
            query = query.where(or_(column == device, column.in_(named)))
        found = [rows.to_context(row) for row in self.all(query)]
        return sorted(found, key=lambda context: (context.describe(), context.key))

    def put_subject(self, subject: Subject) -> str:
        """Stores a subject if its key is new; returns its key."""
        with self.writing() as connection:
            add(connection, schema.subjects, rows.subject_row(subject))
        return subject.key

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Stores many subjects in one transaction."""
        with self.writing() as connection:
            for subject in subjects:
                add(connection, schema.subjects, rows.subject_row(subject))

    def subject(self, key: str) -> Subject | None:
        """The subject of this key, None when there is none."""
        row = self.first(select(schema.subjects).where(schema.subjects.c.key == key))
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
        return [rows.to_subject(row) for row in self.all(query.order_by(*order))]


def add_foreign_device(connection: Connection, device: Device) -> bool:
    """Adds a device that came from elsewhere, unless its hardware id is known.

    Its name is its owner's; where a device here has that name already, it gets one after its
    hardware id, so that nobody's ``host`` is taken for ours.
    """
    table, row = schema.devices, rows.device_row(device)
    taken = select(table.c.hardware_id).where(
        table.c.name == row["name"],
        table.c.name != "",
        table.c.hardware_id != device.hardware_id,
    )
    if connection.execute(taken).first() is not None:
        row["name"] = _distinct(row["name"], device.hardware_id)
    return add(connection, table, row)


def _distinct(name: str, hardware_id: str) -> str:
    return f"{name}@{digest(hardware_id)[:8]}"


def _keys(table: Table, context: str | None, run: str | None) -> Any:
    query = select(table.c.subject)
    if context is not None:
        query = query.where(table.c.context == context)
    if run is not None:
        query = query.where(table.c.run_id == run)
    return query
