"""What a store holds, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from lwprof.profiler.store import schema
from lwprof.profiler.store.records import Context, Device
from lwprof.profiler.store.store import Store


@dataclass(frozen=True, slots=True)
class ContextSummary:
    """One context and how much is known in it."""

    context: Context
    blocks: int
    facts: int
    workloads: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a store holds.

    Attributes:
        url: where it is, without passwords.
        schema_version: of its tables.
        size_bytes: of an SQLite file with its log, None for a server.
        records: number of rows by table.
        unfinished: runs that an equal command would resume or that were given up.
        devices: all devices.
        contexts: all contexts, those of one device together.
    """

    url: str
    schema_version: int
    size_bytes: int | None
    records: Mapping[str, int]
    unfinished: int
    devices: tuple[Device, ...]
    contexts: tuple[ContextSummary, ...]


def summarise(store: Store) -> Summary:
    """What the store holds.

    Raises:
        StoreError: it is damaged.
    """
    tables = [table for table in schema.metadata.sorted_tables if table is not schema.meta]
    with store.reading() as connection:
        records = {
            table.name: int(connection.execute(_count(table)).scalar_one()) for table in tables
        }
        unfinished = connection.execute(
            _count(schema.runs).where(schema.runs.c.finished_utc.is_(None))
        ).scalar_one()
    blocks, facts = _by_context(store, schema.blocks), _by_context(store, schema.facts)
    contexts = sorted(store.contexts(), key=lambda c: (c.hardware_id, c.describe(), c.key))
    return Summary(
        url=store.url,
        schema_version=schema.SCHEMA_VERSION,
        size_bytes=_size_bytes(store.url),
        records=records,
        unfinished=int(unfinished),
        devices=tuple(store.devices()),
        contexts=tuple(
            ContextSummary(
                context,
                blocks.get(context.key, 0),
                facts.get(context.key, 0),
                sum(s.kind == "workload" for s in store.subjects(context=context.key)),
            )
            for context in contexts
        ),
    )


def _count(table: Table) -> Any:
    return select(func.count()).select_from(table)


def _by_context(store: Store, table: Table) -> dict[str, int]:
    query = select(table.c.context, func.count().label("rows")).group_by(table.c.context)
    return {row["context"]: row["rows"] for row in store.all(query)}


def _size_bytes(url: str) -> int | None:
    files = [Path(url), Path(f"{url}-wal")]
    sizes = [path.stat().st_size for path in files if path.is_file()]
    return sum(sizes) if sizes else None
