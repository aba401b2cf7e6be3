"""Tables into a store: our own, and foreign ones by a mapping. All of a file, or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lwprof.errors import StoreError
from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.catalogue import add_foreign_device
from lwprof.profiler.store.database import add
from lwprof.profiler.store.foreign import Translation, translate
from lwprof.profiler.store.mapping import columns_of, read_mapping
from lwprof.profiler.store.records import Fact, Run, request_digest
from lwprof.profiler.store.store import Store
from lwprof.profiler.store.table import REQUIRED, SCHEMA, from_cells
from lwprof.profiler.store.table_files import read_raw, typed

_RawRows = Iterator[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        run_id: the run under which the numbers are kept; the same file gives the same one.
        rows: rows of the table that were taken.
        facts: numbers stored.
        foreign: rows kept under a foreign key, which no cost model can use.
        reasons: why they were, the most common first.
        skipped: rows that the mapping's ``where`` left out.
        joined: rows that were joined with others of the same workload by their median.
        repeated: True when this very file was imported before, and nothing changed.
    """

    run_id: str
    rows: int
    facts: int
    foreign: int = 0
    reasons: tuple[str, ...] = ()
    skipped: int = 0
    joined: int = 0
    repeated: bool = False


def import_table(
    store: Store, path: str | os.PathLike[str], mapping: str | os.PathLike[str] | None = None
) -> ImportReport:
    """Stores the numbers of a table with origin ``imported``.

    Args:
        store: where they go.
        path: a CSV, gzipped CSV or Parquet file.
        mapping: a TOML file that says what a foreign table's columns mean; None for a table
            that ``export_table`` wrote.

    Raises:
        StoreError: not a table, or a cell that makes no sense, by its place; nothing was stored.
        MissingExtra: Parquet without pyarrow.
    """
    path = Path(path)
    columns, raw = read_raw(path)
    request: dict[str, Any] = {"import": SCHEMA, "sha256": _sha256(path)}
    if mapping is None:
        done = _translated(path, columns, raw)
    else:
        meaning = read_mapping(Path(mapping))
        missing = sorted(columns_of(meaning) - set(columns))
        if missing:
            raise StoreError(f"{path} has no column {', '.join(map(repr, missing))}, which "
                             f"the mapping {os.fspath(mapping)} names")  # fmt: skip
        request["mapping"] = msgspec.to_builtins(meaning)
        done = translate(raw, meaning)
    if not done.rows:
        raise StoreError(f"{path} holds no rows to import")
    return _store(store, request, done)


def _translated(path: Path, columns: list[str], raw: _RawRows) -> Translation:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise StoreError(
            f"{path} is no {SCHEMA}: it lacks {', '.join(missing)}; say what the columns of a "
            "foreign table mean with --mapping FILE.toml"
        )
    done = Translation()
    seen: dict[tuple[str, str, str], str] = {}
    for where, cells in raw:
        row = from_cells(typed(cells, where), where)
        for quantity in row.estimates:
            key = (row.context.key, row.subject.key, quantity)
            if key in seen:
                raise StoreError(f"{where}: {quantity} of this workload stands in {seen[key]} too")
            seen[key] = where
        done.rows.append(row)
    return done


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(store: Store, request: dict[str, Any], done: Translation) -> ImportReport:
    from lwprof import __version__

    digest = request_digest(request)
    run_id = f"import-{digest[:32]}"
    count = sum(len(row.estimates) for row in done.rows)
    taken = len(done.rows) + done.joined
    report = ImportReport(run_id, taken, count, done.foreign, tuple(done.reasons), done.skipped,
                          done.joined)  # fmt: skip
    now = store.now()
    run = Run(run_id, digest, "import", None, now, __version__, request, now)
    with store.writing() as connection:
        if not add(connection, schema.runs, rows.run_row(run)):
            return ImportReport(run_id, taken, 0, done.foreign, tuple(done.reasons), done.skipped,
                                done.joined, repeated=True)  # fmt: skip
        for row in done.rows:
            context, subject = row.context.key, row.subject.key
            add_foreign_device(connection, row.device)
            add(connection, schema.contexts, rows.context_row(row.context))
            add(connection, schema.subjects, rows.subject_row(row.subject))
            for quantity, estimate in row.estimates.items():
                fact = Fact.of(estimate, run_id=run_id, context=context, subject=subject,
                               quantity=quantity, origin="imported", derived_utc=now)  # fmt: skip
                connection.execute(schema.facts.insert(), rows.fact_row(fact))
    return report
