"""Bringing an old store up to date: one step per schema version, all in one transaction."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, select, text

from lwprof.errors import StoreError
from lwprof.profiler.store import engine as engines
from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.codec import canonical_json, expect_text, parse_object
from lwprof.profiler.store.location import is_memory, locate, shown, vet_file
from lwprof.profiler.store.opening import (
    find_version,
    make_tables,
    require_current,
    require_tables,
    stored_version,
    use_write_ahead_log,
)
from lwprof.profiler.store.records import Block, Context, Device, Run, Subject


def migrate(url: str | os.PathLike[str] | None = None) -> tuple[int, int]:
    """Brings the store at ``url`` to the present schema; a crash on the way changes nothing.

    Args:
        url: as for ``open_store``.

    Returns:
        The schema version it had, and the one it has now.

    Raises:
        StoreError: no store there, one of a newer lwprof, or one whose records are damaged.
    """
    location = locate(url)
    if location.drivername == "sqlite" and (
        is_memory(location) or vet_file(Path(location.database or "")) == "new"
    ):
        raise StoreError(f"there is no store at {shown(location)}: nothing to migrate")
    engine = engines.connect(location)
    try:
        found = find_version(engine, location)
        if found is None:
            raise StoreError(f"there is no store at {shown(location)}: nothing to migrate")
        if found > schema.SCHEMA_VERSION:
            require_current(found, location)
        if found < schema.SCHEMA_VERSION:
            use_write_ahead_log(engine, location)
            with engines.writing(engine, location) as connection:
                # Somebody else may have migrated it while we waited for the lock.
                for version in range(stored_version(connection), schema.SCHEMA_VERSION):
                    _STEPS[version](connection)
        require_tables(engine, location)
    finally:
        engine.dispose()
    return found, schema.SCHEMA_VERSION


# The layout before 0.1: no devices, payloads as plain text, one context for a run's blocks.
_old = MetaData()
_OLD_TABLES = {
    name: Table(
        f"{name}_v0",
        _old,
        *(Column(column, Integer if column == "sequence" else Text) for column in columns.split()),
    )
    for name, columns in {
        "contexts": "key data",
        "subjects": "key kind name",
        "runs": "run_id request_digest context started_utc finished_utc request",
        "blocks": "block_id run_id subject arm sequence started_utc payload",
    }.items()
}


def _from_0(connection: Connection) -> None:
    for name in ("meta", *_OLD_TABLES):
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {name}_v0"))
    make_tables(connection)
    keys = _contexts_from_0(connection)
    for row in _rows(connection, "subjects"):
        subject = Subject(str(row["key"]), str(row["kind"]), str(row["name"]))
        _insert(connection, schema.subjects, rows.subject_row(subject))
    contexts = _runs_from_0(connection, keys)
    for row in _rows(connection, "blocks"):
        what = f"block {row['block_id']!r}"
        payload = parse_object(row["payload"], what)
        if row["run_id"] not in contexts:
            raise StoreError(f"{what} is damaged: it belongs to no run")
        block = Block(
            block_id=str(row["block_id"]),
            run_id=str(row["run_id"]),
            context=contexts[row["run_id"]],
            subject=str(row["subject"]),
            arm=str(row["arm"]),
            sequence=int(row["sequence"] or 0),
            started_utc=str(row["started_utc"]),
            payload=payload,
        )
        _insert(connection, schema.blocks, rows.block_row(block))
    for name in ("blocks", "runs", "subjects", "contexts", "meta"):
        connection.execute(text(f"DROP TABLE {name}_v0"))


def _contexts_from_0(connection: Connection) -> dict[str, str]:
    """Stores the contexts and their devices; returns old key → new key."""
    keys: dict[str, str] = {}
    devices: set[str] = set()
    for row in _rows(connection, "contexts"):
        data = parse_object(row["data"], f"context {row['key']!r}")
        context = Context.from_json({"options": {}, **data})
        keys[str(row["key"])] = context.key
        _insert(connection, schema.contexts, rows.context_row(context))
        if context.hardware_id not in devices:
            devices.add(context.hardware_id)
            device = Device(context.hardware_id, "", "", context.environment)
            _insert(connection, schema.devices, rows.device_row(device))
    return keys


def _runs_from_0(connection: Connection, keys: dict[str, str]) -> dict[str, str]:
    """Stores the runs; returns run → key of its context."""
    contexts: dict[str, str] = {}
    for row in _rows(connection, "runs"):
        what = f"run {row['run_id']!r}"
        if row["context"] not in keys:
            raise StoreError(f"{what} is damaged: its context is missing")
        run = Run(
            run_id=expect_text(row["run_id"], what),
            request_digest=expect_text(row["request_digest"], what),
            kind="measure",
            context=keys[row["context"]],
            started_utc=expect_text(row["started_utc"], what),
            lwprof_version="",
            request=parse_object(row["request"] or canonical_json({}), what),
            finished_utc=row["finished_utc"],
        )
        contexts[run.run_id] = keys[row["context"]]
        _insert(connection, schema.runs, rows.run_row(run))
    return contexts


def _rows(connection: Connection, name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(_OLD_TABLES[name])).mappings()]


def _insert(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    connection.execute(table.insert(), row)


_STEPS: dict[int, Callable[[Connection], None]] = {0: _from_0}
