"""A foreign table's mapping: a TOML file that says what its columns mean. Data only, closed.

Example::

    source = "measured"
    where = { set = "random" }            # only rows whose cells read so

    [context]                             # constants; "{column}" takes a cell
    device = "tx2"
    runtime = "pytorch"
    runtime_version = "1.4"
    provider = "CUDA"
    threads = "{threads}"

    [quantities]
    latency_s = { column = "latency_ms", unit = "ms" }
    energy_j = { column = "total_energy_J", unit = "J" }

    [workload]
    op = "{op}"                           # or a constant: "Conv"
    dtype = "float32"
    inputs = [["{n}", "{cin}", "{h}", "{w}"], ["{cout}", "{cin}/{groups}", "{k}", "{k}"]]
    attributes = { strides = ["{s}", "{s}"], group = "{groups}" }
    ops = { conv2d = "Conv" }             # what their operators are called in ONNX
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lwprof.errors import StoreError, UnitError
from lwprof.profiler.store.table import QUANTITIES
from lwprof.profiler.store.table_files import to_count
from lwprof.units import parse_duration, parse_energy, parse_size

_MAX_BYTES = 1_000_000
_COLUMN = re.compile(r"\{([^{}]+)\}")
_FACTOR = r"\s*(?:\{[^{}]+\}|\d+)\s*"
_EXPRESSION = re.compile(f"{_FACTOR}(?:[*/]{_FACTOR})*")
_SHAPE = re.compile(r"[\[(]?\s*\d+(?:\s*[x×,;*\s]\s*\d+)*\s*,?\s*[\])]?")

Cells = Mapping[str, Any]


class Quantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a quantity stands and in which unit: ``unit`` or ``factor``, neither for SI."""

    column: str
    unit: str | None = None
    factor: float | None = None
    low: str | None = None
    high: str | None = None


class WorkloadMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a row says which workload it is about."""

    op: str
    inputs: list[str | list[str | int]]
    dtype: str = "float32"
    attributes: dict[str, Any] = {}
    ops: dict[str, str] = {}


class ContextMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Context constants; texts may name columns."""

    device: str
    runtime: str
    runtime_version: str = "unknown"
    provider: str = "CPU"
    threads: int | str = 1
    precision: str = "float32"
    environment: str = "hardware"
    board: str = ""
    hardware_id: str | None = None
    batch: int | str | None = None
    power_mode: str | None = None
    options: dict[str, str | int | float | bool] = {}


class TableMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole mapping file."""

    quantities: dict[str, Quantity]
    context: ContextMap
    workload: WorkloadMap | None = None
    key: list[str] | None = None
    where: dict[str, str] = {}
    source: str = "measured"
    level: float = 0.95
    n: int | str | None = None
    blocks: int | str | None = None


def read_mapping(path: Path) -> TableMapping:
    """The mapping in a TOML file.

    Raises:
        StoreError: unreadable, not TOML, an unknown or missing field, an unknown quantity
            or unit.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise StoreError(f"the mapping {path} is too large to be one")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read the mapping {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"the mapping {path} is not TOML: {error}") from None
    try:
        mapping = msgspec.convert(data, TableMapping)
    except msgspec.ValidationError as error:
        raise StoreError(f"the mapping {path}: {error}") from None
    if not mapping.quantities:
        raise StoreError(f"the mapping {path}: [quantities] names no column")
    for name, quantity in mapping.quantities.items():
        if name not in QUANTITIES:
            raise StoreError(
                f"the mapping {path}: {name!r} is no quantity: one of {', '.join(QUANTITIES)}"
            )
        factor(name, quantity, str(path))
    return mapping


def columns_of(mapping: TableMapping) -> set[str]:
    """Every column that the mapping names."""
    names = set(mapping.where) | set(mapping.key or [])
    for quantity in mapping.quantities.values():
        names |= {name for name in (quantity.column, quantity.low, quantity.high) if name}
    texts: list[Any] = [msgspec.to_builtins(mapping.context), mapping.n, mapping.blocks]
    if mapping.workload is not None:
        texts.append(msgspec.to_builtins(mapping.workload))
    while texts:
        item = texts.pop()
        if isinstance(item, str):
            names.update(_COLUMN.findall(item))
        elif isinstance(item, dict):
            texts.extend(item.values())
        elif isinstance(item, list):
            texts.extend(item)
    return names


def factor(name: str, quantity: Quantity, where: str) -> float:
    """What the cell of a quantity is multiplied by to be SI."""
    if quantity.unit is not None and quantity.factor is not None:
        raise StoreError(f"the mapping {where}: {name} has a unit and a factor: give one")
    if quantity.factor is not None:
        if not 0 < quantity.factor < float("inf"):
            raise StoreError(f"the mapping {where}: the factor of {name} must be positive")
        return quantity.factor
    if quantity.unit is None:
        return 1.0
    parse = {"s": parse_duration, "j": parse_energy, "bytes": parse_size, "w": _parse_power}
    try:
        return float(parse[name.rsplit("_", 1)[1]](f"1{quantity.unit}"))
    except UnitError as error:
        raise StoreError(f"the mapping {where}: {name}: {error}") from None


def _parse_power(text: str) -> float:
    scales = {"1W": 1.0, "1mW": 1e-3}
    if text not in scales:
        raise UnitError(f"power {text!r} has an unknown unit: W or mW")
    return scales[text]


def text_term(term: str, cells: Cells, where: str) -> str:
    """A text with every ``{column}`` replaced by the row's cell."""
    return _COLUMN.sub(lambda match: str(cell(cells, match[1], where)), term)


def count_term(term: str | int, cells: Cells, where: str) -> int:
    """A whole number: a constant, or columns and numbers joined by ``*`` and ``/``.

    Raises:
        StoreError: not such an expression, a cell that is no whole number, or a division
            that leaves a rest.
    """
    if isinstance(term, int):
        return term
    if _EXPRESSION.fullmatch(term) is None:
        raise StoreError(f"{where}: cannot compute {term!r}: write numbers, {{column}}, * and /")
    value = 1
    operator = "*"
    for part in re.split(r"([*/])(?![^{]*\})", term):
        part = part.strip()
        if part in ("*", "/"):
            operator = part
            continue
        name = _COLUMN.fullmatch(part)
        number = to_count(cell(cells, name[1], where), f"{where}: {name[1]}") if name else int(part)
        if operator == "*":
            value *= number
        elif number == 0 or value % number:
            raise StoreError(f"{where}: {term!r} is no whole number")
        else:
            value //= number
    return value


def shape_term(term: str | list[str | int], cells: Cells, where: str) -> list[int]:
    """A shape: a list of ``count_term``, or one column that holds it like ``1x3x224x224``."""
    if isinstance(term, list):
        return [count_term(extent, cells, where) for extent in term]
    text = text_term(term, cells, where).strip()
    if len(text) > 200 or _SHAPE.fullmatch(text) is None:
        raise StoreError(f"{where}: cannot read {text[:40]!r} as a shape like 1x3x224x224")
    return [int(extent) for extent in re.findall(r"\d+", text)]


def attribute_term(term: Any, cells: Cells, where: str) -> Any:
    """An attribute's value: lists and expressions of counts, numbers, or plain text."""
    if isinstance(term, list):
        return [attribute_term(item, cells, where) for item in term]
    if not isinstance(term, str):
        return term
    if _EXPRESSION.fullmatch(term):
        return count_term(term, cells, where)
    return text_term(term, cells, where)


def cell(cells: Cells, column: str, where: str) -> Any:
    """The row's cell in a column; StoreError when it is empty."""
    value = cells.get(column)
    if value is None or value == "":
        raise StoreError(f"{where}: {column!r} is empty")
    return value
