"""The lookup table in a store as ``lwprof.table/1`` rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.store.records import Context, Device, Fact, Subject
from lwprof.profiler.store.store import Store
from lwprof.profiler.store.table import QUANTITIES, TableRow, to_cells
from lwprof.profiler.store.table_files import write_table


def export_table(
    store: Store, path: str | os.PathLike[str], *, contexts: Iterable[Context] | None = None
) -> int:
    """Writes the latest numbers of every workload to a CSV or Parquet file.

    Args:
        store: where they are.
        path: ``….csv`` or ``….parquet``; replaced when it exists, whole or not at all.
        contexts: only these; all by default.

    Returns:
        The number of rows.

    Raises:
        StoreError: the store is damaged, or the file cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    chosen = store.contexts() if contexts is None else list(contexts)
    cells = (to_cells(row) for context in chosen for row in table_rows(store, context))
    return write_table(Path(path), cells)


def table_rows(store: Store, context: Context) -> Iterator[TableRow]:
    """Rows of one context, by workload key.

    Quantities that differ in source, origin, level, n or blocks get rows of their own, so that
    no number is told with the evidence of another."""
    devices = {device.hardware_id: device for device in store.devices()}
    device = devices.get(context.hardware_id) or Device(
        context.hardware_id, "", "", context.environment
    )
    subjects = {
        subject.key: subject
        for subject in store.subjects(context=context.key)
        if subject.kind in ("workload", "foreign")
    }
    facts = store.lookup(list(subjects), context.key)
    for key in sorted(subjects):
        yield from _rows_of(subjects[key], context, device, facts.get(key, {}))


def _rows_of(
    subject: Subject, context: Context, device: Device, facts: Mapping[str, Fact]
) -> Iterator[TableRow]:
    groups: dict[tuple[object, ...], dict[str, Estimate]] = {}
    origins: dict[tuple[object, ...], str] = {}
    for quantity in QUANTITIES:
        fact = facts.get(quantity)
        if fact is not None:
            evidence: tuple[object, ...] = (
                fact.origin,
                fact.source,
                fact.level,
                fact.n,
                fact.blocks,
            )
            groups.setdefault(evidence, {})[quantity] = fact.estimate()
            origins[evidence] = fact.origin
    for evidence, estimates in groups.items():
        yield TableRow(subject, context, device, estimates, origins[evidence])
