"""Rows of foreign tables as rows of ours, by a mapping."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lwprof.errors import StoreError, UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.store.codec import digest
from lwprof.profiler.store.mapping import (
    TableMapping,
    attribute_term,
    cell,
    count_term,
    factor,
    shape_term,
    text_term,
)
from lwprof.profiler.store.records import Context, Device, Subject
from lwprof.profiler.store.table import TableRow
from lwprof.profiler.store.table_files import to_number

_REASONS = 5  # so many of the most common reasons are told


@dataclass(slots=True)
class Translation:
    """Rows of ours, and what could not be said in our words.

    Attributes:
        rows: one per workload and context.
        foreign: rows kept under a foreign key, since their workload cannot be expressed.
        reasons: why, the most common first.
        skipped: rows that the mapping's ``where`` left out.
        joined: rows that were joined with others of the same workload by their median.
    """

    rows: list[TableRow] = field(default_factory=list)
    foreign: int = 0
    reasons: list[str] = field(default_factory=list)
    skipped: int = 0
    joined: int = 0


def translate(cells: Iterable[tuple[str, Mapping[str, Any]]], mapping: TableMapping) -> Translation:
    """Every row that ``where`` lets through, as a row of ours of origin ``imported``.

    Several rows of one workload in one context become one: the median, with no interval,
    since nobody knows how they depend on each other.

    Raises:
        StoreError: a cell that a quantity or the context needs is missing or no number.
    """
    done = Translation()
    groups: dict[tuple[str, str], list[TableRow]] = {}
    reasons: Counter[str] = Counter()
    for where, row in cells:
        if any(str(row.get(name, "")) != wanted for name, wanted in mapping.where.items()):
            done.skipped += 1
            continue
        context, device = _context(mapping, row, where)
        subject, reason = _subject(mapping, row, where)
        if reason is not None:
            done.foreign += 1
            reasons[reason] += 1
        estimates = _estimates(mapping, row, where)
        group = groups.setdefault((context.key, subject.key), [])
        group.append(TableRow(subject, context, device, estimates, "imported"))
    for group in groups.values():
        done.rows.append(group[0] if len(group) == 1 else _joined(group))
        done.joined += len(group) - 1
    done.reasons = [f"{text} ({count} rows)" for text, count in reasons.most_common(_REASONS)]
    return done


def _context(mapping: TableMapping, row: Mapping[str, Any], where: str) -> tuple[Context, Device]:
    given = mapping.context
    name = text_term(given.device, row, where)
    hardware_id = f"imported:{name}" if given.hardware_id is None else text_term(
        given.hardware_id, row, where
    )  # fmt: skip
    try:
        context = Context.from_json(
            {
                "hardware_id": hardware_id,
                "runtime": text_term(given.runtime, row, where),
                "runtime_version": text_term(given.runtime_version, row, where),
                "provider": text_term(given.provider, row, where),
                "threads": count_term(given.threads, row, where),
                "precision": text_term(given.precision, row, where),
                "environment": text_term(given.environment, row, where),
                "affinity": None,
                "batch": None if given.batch is None else count_term(given.batch, row, where),
                "power_mode": None if given.power_mode is None else text_term(
                    given.power_mode, row, where
                ),
                "options": given.options,
            }
        )  # fmt: skip
    except StoreError as error:
        raise StoreError(f"{where}: {error}") from None
    board = text_term(given.board, row, where)
    return context, Device(hardware_id, name, board, context.environment)


def _subject(
    mapping: TableMapping, row: Mapping[str, Any], where: str
) -> tuple[Subject, str | None]:
    """The row's subject, and why it is a foreign one where it is."""
    reason = "the mapping has no [workload]"
    if mapping.workload is not None:
        from lwprof.profiler.kernels.workload import workload

        given = mapping.workload
        try:
            name = text_term(given.op, row, where)
            made = workload(
                given.ops.get(name, name),
                inputs=[shape_term(shape, row, where) for shape in given.inputs],
                attributes=_attributes(given.attributes, row, where),
                dtype=text_term(given.dtype, row, where),
            )
            return Subject(made.key, "workload", "+".join(made.op_types), made.description), None
        except UsageError as error:  # StoreError is one, too
            reason = str(error).removeprefix(f"{where}: ")
    values = set()
    for quantity in mapping.quantities.values():
        values |= {quantity.column, quantity.low, quantity.high}
    names = mapping.key if mapping.key is not None else [name for name in row if name not in values]
    described = {name: row.get(name) for name in names}
    plain = {name: value for name, value in described.items() if _is_plain(value)}
    return Subject(f"foreign:{digest(plain)}", "foreign", "", plain), reason


def _attributes(
    attributes: Mapping[str, Any], row: Mapping[str, Any], where: str
) -> dict[str, Any]:
    return {name: attribute_term(term, row, where) for name, term in attributes.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | bool) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _estimates(mapping: TableMapping, row: Mapping[str, Any], where: str) -> dict[str, Estimate]:
    estimates = {}
    n = None if mapping.n is None else count_term(mapping.n, row, where)
    blocks = None if mapping.blocks is None else count_term(mapping.blocks, row, where)
    for name, quantity in mapping.quantities.items():
        scale = factor(name, quantity, where)

        def number(column: str | None, default: float, scale: float = scale) -> float:
            if column is None:
                return default
            return scale * to_number(cell(row, column, where), f"{where}: {column}")

        value = number(quantity.column, 0.0)
        low, high = number(quantity.low, -math.inf), number(quantity.high, math.inf)
        if value < 0:
            raise StoreError(f"{where}: {quantity.column} is negative")
        try:
            estimates[name] = Estimate(value, low, high, mapping.level, mapping.source, blocks, n)
        except UsageError as error:
            raise StoreError(f"{where}: {name}: {error}") from None
    return estimates


def _joined(group: list[TableRow]) -> TableRow:
    first = group[0]
    estimates = {}
    for name, estimate in first.estimates.items():
        value = median(row.estimates[name].value for row in group)
        counts = [row.estimates[name].n for row in group]
        known = [count for count in counts if count is not None]
        n = sum(known) if len(known) == len(counts) else None
        estimates[name] = Estimate(
            value, -math.inf, math.inf, estimate.level, estimate.source, None, n
        )
    return TableRow(first.subject, first.context, first.device, estimates, first.origin)
