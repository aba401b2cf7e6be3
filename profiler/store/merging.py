"""The union of two stores: by key, idempotent, and naming whatever differs under one key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, select, tuple_

from lwprof.errors import StoreError
from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.catalogue import add_foreign_device
from lwprof.profiler.store.codec import digest, unpack
from lwprof.profiler.store.database import PAGE, add, same
from lwprof.profiler.store.integrity import check
from lwprof.profiler.store.records import MergeReport
from lwprof.profiler.store.store import Store


def merge(into: Store, other: Store) -> MergeReport:
    """Copies into ``into`` every record of ``other`` that it lacks.

    Merging again changes nothing, and the order of merges makes no difference as long as no
    conflict is reported. The names of devices and subjects are labels: ours are kept. A run
    that either side finished is finished; of two derived facts, the one computed last stays.

    Args:
        into: the store that grows.
        other: the store that is read; every record is checked before it is taken.

    Raises:
        StoreError: ``other`` is damaged; what was copied until then is sound and stays.
    """
    problems = check(other)
    if problems:
        raise StoreError(f"the store {other.url} is damaged ({problems[0]}): nothing was merged")
    added: Counter[str] = Counter()
    conflicts: list[str] = []
    for table, settle in _TABLES.items():
        for page in _pages(other, table):
            # A page at a time, so that a measurement that runs meanwhile can store its blocks.
            with into.writing() as connection:
                for row in page:
                    _take(connection, table, row, settle, added, conflicts)
    return MergeReport(dict(+added), tuple(conflicts))


def _pages(store: Store, table: Table) -> Iterator[list[rows.Row]]:
    key = list(table.primary_key.columns)
    last: tuple[Any, ...] | None = None
    while True:
        query = select(table).order_by(*key).limit(PAGE)
        if last is not None:
            query = query.where(tuple_(*key) > tuple_(*last))
        page = list(store.all(query))
        if not page:
            return
        yield page
        last = tuple(page[-1][column.name] for column in key)


def _take(
    connection: Connection,
    table: Table,
    row: rows.Row,
    settle: _Settle,
    added: Counter[str],
    conflicts: list[str],
) -> None:
    fresh = _CHECKED[table](row)
    if table is schema.devices:
        added[table.name] += add_foreign_device(connection, rows.to_device(row))
        return
    if add(connection, table, fresh):
        added[table.name] += 1
        return
    ours = connection.execute(select(table).where(same(table, fresh))).mappings().one()
    outcome = settle(ours, fresh)
    if isinstance(outcome, str):
        conflicts.append(outcome)
    elif outcome:
        connection.execute(table.update().where(same(table, fresh)).values(**outcome))


# What to do about a record that both have: a conflict's text, or columns to change in ours.
_Settle = Callable[[rows.Row, rows.Row], str | dict[str, Any]]


def _keep(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    return {}


def _settle_subject(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    mine, other = rows.to_subject(ours), rows.to_subject(theirs)
    if mine.kind != other.kind or mine.description != other.description:
        return f"subject {mine.key!r} is described otherwise; ours was kept"
    return {}


def _settle_run(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    mine, other = rows.to_run(ours), rows.to_run(theirs)
    if mine.kind == "import" and mine.request_digest == other.request_digest:
        # The same file, imported twice at different times.
        first = min(ours["started_utc"], theirs["started_utc"])
        return {} if first == mine.started_utc else dict(theirs)
    if replace(mine, finished_utc=None) != replace(other, finished_utc=None):
        return f"run {mine.run_id!r} was another run; ours was kept"
    if other.finished_utc is None or other.finished_utc == mine.finished_utc:
        return {}
    first = other.finished_utc
    if mine.finished_utc is not None:
        first = min(first, mine.finished_utc)
    return {"finished_utc": first}


def _settle_block(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    mine = rows.to_block(ours)
    if mine != rows.to_block(theirs):
        return f"block {mine.block_id!r} holds other samples; ours was kept"
    return {}


def _settle_kernels(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    later = max(ours["stored_utc"], theirs["stored_utc"])
    return {} if later == ours["stored_utc"] else {"stored_utc": later}


def _settle_fact(ours: rows.Row, theirs: rows.Row) -> str | dict[str, Any]:
    mine, other = rows.fact_row(rows.to_fact(ours)), dict(theirs)
    if mine == other:
        return {}
    # At equal times the content decides, so that the order of merges does not matter.
    later = max(mine, other, key=lambda row: (row["derived_utc"], digest(row)))
    return other if later is other else {}


def _checked_kernels(row: rows.Row) -> dict[str, Any]:
    data = unpack(row["data"], f"kernel list of {row['subject']!r}")
    if digest(data) != row["digest"]:
        raise StoreError(f"kernel list of {row['subject']!r} is damaged: it has another digest")
    return dict(row)


# Every row passes through its record, so that nothing unchecked gets into our store.
_CHECKED: Mapping[Table, Callable[[rows.Row], dict[str, Any]]] = {
    schema.devices: lambda row: rows.device_row(rows.to_device(row)),
    schema.contexts: lambda row: rows.context_row(rows.to_context(row)),
    schema.subjects: lambda row: rows.subject_row(rows.to_subject(row)),
    schema.runs: lambda row: rows.run_row(rows.to_run(row)),
    schema.blocks: lambda row: rows.block_row(rows.to_block(row)),
    schema.kernels: _checked_kernels,
    schema.facts: lambda row: rows.fact_row(rows.to_fact(row)),
}

# In the order in which they refer to one another.
_TABLES: Mapping[Table, _Settle] = {
    schema.devices: _keep,  # settled by name
    schema.contexts: _keep,
    schema.subjects: _settle_subject,
    schema.runs: _settle_run,
    schema.blocks: _settle_block,
    schema.kernels: _settle_kernels,
    schema.facts: _settle_fact,
}
