"""``lwprof.table/1``: measurements of workloads as flat rows that travel as CSV or Parquet."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.errors import StoreError, UsageError
from lwprof.profiler.statistics.estimate import Estimate
from lwprof.profiler.store.codec import canonical_json, parse_json
from lwprof.profiler.store.records import ORIGINS, Context, Device, Subject

SCHEMA = "lwprof.table/1"
QUANTITIES = (
    "latency_s",
    "isolated_latency_s",
    "energy_j",
    "energy_above_idle_j",
    "power_w",
    "peak_memory_bytes",
)
# column -> what its cells hold; "json" cells hold lists and objects as canonical JSON.
COLUMNS: Mapping[str, str] = {
    "workload": "text",
    "op_types": "json",
    "attributes": "json",
    "inputs": "json",
    "outputs": "json",
    "dtype": "text",
    "device": "text",
    "hardware_id": "text",
    "board": "text",
    "environment": "text",
    "runtime": "text",
    "runtime_version": "text",
    "provider": "text",
    "threads": "count",
    "affinity": "json",
    "precision": "text",
    "batch": "count",
    "power_mode": "text",
    "options": "json",
    **{f"{name}{end}": "number" for name in QUANTITIES for end in ("", "_low", "_high")},
    "level": "number",
    "n": "count",
    "blocks": "count",
    "source": "text",
    "origin": "text",
    # The whole description of the workload, so that nothing is lost on the way.
    "description": "json",
}
# Without these a file is no table of ours.
REQUIRED = ("workload", "hardware_id", "runtime", "runtime_version", "provider", "threads",
            "precision", "environment", "latency_s", "source", "origin")  # fmt: skip

Cells = dict[str, Any]
_WORKLOAD_KEY = re.compile("w1:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: quantities of one workload in one context that share source, n and blocks.

    Attributes:
        estimates: quantity → estimate; at least one.
        origin: ``measured_here`` or ``imported``.
    """

    subject: Subject
    context: Context
    device: Device
    estimates: Mapping[str, Estimate]
    origin: str


def to_cells(row: TableRow) -> Cells:
    """The row as typed cells by column; None is an empty cell.

    An estimate that is only an upper bound has an empty value, and the bound as its high end.
    """
    first = next(iter(row.estimates.values()))
    described, context = row.subject.description, row.context
    cells: Cells = dict.fromkeys(COLUMNS)
    cells.update(
        workload=row.subject.key,
        op_types=_described(described, "op_types"),
        attributes=_described(described, "attributes"),
        inputs=_described(described, "inputs"),
        outputs=_described(described, "outputs"),
        dtype=described.get("dtype") if isinstance(described.get("dtype"), str) else None,
        device=row.device.name or None,
        board=row.device.board or None,
        level=first.level,
        n=first.n,
        blocks=first.blocks,
        source=first.source,
        origin=row.origin,
        description=canonical_json(described) if described else None,
    )
    for name, value in context.to_json().items():
        cells[name] = canonical_json(value) if COLUMNS[name] == "json" and value else value or None
    cells["threads"] = context.threads
    for name, estimate in row.estimates.items():
        cells[name] = None if estimate.at_most else estimate.value
        cells[f"{name}_low"] = _finite(estimate.low)
        cells[f"{name}_high"] = _finite(estimate.high)
    return cells


def _described(description: Mapping[str, Any], name: str) -> str | None:
    value = description.get(name)
    return None if value is None else canonical_json(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def from_cells(cells: Mapping[str, Any], where: str) -> TableRow:
    """The row of typed cells.

    Args:
        cells: as ``to_cells`` gives them; columns may be missing.
        where: names the row in errors, e.g. ``table.csv, row 7``.

    Raises:
        StoreError: a cell that is missing or makes no sense, by name.
    """
    context = _context(cells, where)
    key = cells.get("workload")
    if not isinstance(key, str) or not key.startswith(("w1:", "foreign:")):
        raise StoreError(f"{where}: {key!r} is no workload key (w1:…)")
    subject = _subject(key, _json_cell(cells, "description", where), where)
    device = Device(
        context.hardware_id,
        str(cells.get("device") or ""),
        str(cells.get("board") or ""),
        context.environment,
    )
    if cells.get("origin") not in ORIGINS:
        raise StoreError(f"{where}: origin {cells.get('origin')!r} is not one of {ORIGINS}")
    estimates = dict(_estimates(cells, where))
    if not estimates:
        raise StoreError(f"{where}: no quantity has a value")
    return TableRow(subject, context, device, estimates, str(cells["origin"]))


def _subject(key: str, description: Any, where: str) -> Subject:
    from lwprof.profiler.kernels.workload import Workload

    if not isinstance(description, dict | None):
        raise StoreError(f"{where}: the description is no JSON object")
    if key.startswith("foreign:"):
        return Subject(key, "foreign", str((description or {}).get("op", "")), description or {})
    if not _WORKLOAD_KEY.fullmatch(key):
        raise StoreError(
            f"{where}: {key[:80]!r} is no workload key (w1: and 64 hexadecimal digits)"
        )
    if description is None:
        return Subject(key, "workload")
    try:
        workload = Workload.from_description(description, key)
    except UsageError as error:
        raise StoreError(f"{where}: {error}") from None
    return Subject(key, "workload", "+".join(workload.op_types), workload.description)


def _context(cells: Mapping[str, Any], where: str) -> Context:
    try:
        return Context.from_json(
            {
                "hardware_id": cells.get("hardware_id"),
                "runtime": cells.get("runtime"),
                "runtime_version": cells.get("runtime_version"),
                "provider": cells.get("provider"),
                "threads": cells.get("threads"),
                "precision": cells.get("precision"),
                "environment": cells.get("environment"),
                "affinity": _json_cell(cells, "affinity", where),
                "batch": cells.get("batch"),
                "power_mode": cells.get("power_mode"),
                "options": _json_cell(cells, "options", where) or {},
            }
        )
    except StoreError as error:
        raise StoreError(f"{where}: {error}") from None


def _json_cell(cells: Mapping[str, Any], name: str, where: str) -> Any:
    text = cells.get(name)
    if text is None:
        return None
    return parse_json(text, f"{where}: {name}")


def _estimates(cells: Mapping[str, Any], where: str) -> Iterator[tuple[str, Estimate]]:
    level = cells.get("level")
    for name in QUANTITIES:
        value, low, high = (cells.get(f"{name}{end}") for end in ("", "_low", "_high"))
        point = high if value is None else value
        if point is None:
            continue
        if point < 0:
            raise StoreError(f"{where}: {name} is negative")
        try:
            yield (
                name,
                Estimate(
                    value=point,
                    low=-math.inf if low is None else low,
                    high=math.inf if high is None else high,
                    level=0.95 if level is None else level,
                    source=str(cells.get("source")),
                    blocks=cells.get("blocks"),
                    n=cells.get("n"),
                    at_most=value is None,
                ),
            )
        except UsageError as error:
            raise StoreError(f"{where}: {name}: {error}") from None
