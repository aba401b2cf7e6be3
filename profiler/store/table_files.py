"""Tables as files: CSV with the standard library, Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lwprof.errors import MissingExtra, StoreError
from lwprof.profiler.store.table import COLUMNS, SCHEMA, Cells

MAX_ROWS = 5_000_000
# A spreadsheet takes a cell that begins so for a formula and runs it when the file is opened.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTE = "'"


def write_table(path: Path, rows: Iterable[Cells]) -> int:
    """Writes rows to ``path``, whole or not at all; the extension says the format.

    Args:
        path: ``….csv`` or ``….parquet``.
        rows: cells as ``table.to_cells`` gives them.

    Returns:
        The number of rows.

    Raises:
        StoreError: another extension, or the file cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise StoreError(f"cannot write {path}: name it .csv or .parquet")
    try:
        with _replacing(path) as file:
            return writer(file, rows)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # a temporary file is private, an exported table is not
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _write_csv(file: IO[bytes], rows: Iterable[Cells]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for cells in rows:
        writer.writerow([_csv_cell(cells.get(name)) for name in COLUMNS])
        count += 1
    text.detach()
    return count


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return protected(value) if isinstance(value, str) else str(value)


def protected(text: str) -> str:
    """``text`` with a quote before it where a spreadsheet would run it; ``unprotected`` undoes it.

    A text that begins with a quote gets another one, so that the way back is unambiguous.
    """
    return _QUOTE + text if text.startswith((*_FORMULA, _QUOTE)) else text


def unprotected(text: str) -> str:
    """What ``protected`` was given."""
    return text[1:] if text.startswith(_QUOTE) else text


def _write_parquet(file: IO[bytes], rows: Iterable[Cells]) -> int:
    pyarrow, parquet = _pyarrow()
    kinds = {"text": pyarrow.string(), "json": pyarrow.string(),
             "number": pyarrow.float64(), "count": pyarrow.int64()}  # fmt: skip
    schema = pyarrow.schema(
        [(name, kinds[kind]) for name, kind in COLUMNS.items()], metadata={"schema": SCHEMA}
    )
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        page: list[Cells] = []
        for cells in rows:
            page.append(cells)
            count += 1
            if len(page) == 10_000:
                writer.write_table(pyarrow.Table.from_pylist(page, schema=schema))
                page = []
        writer.write_table(pyarrow.Table.from_pylist(page, schema=schema))
    return count


def read_raw(path: Path) -> tuple[list[str], Iterator[tuple[str, Mapping[str, Any]]]]:
    """The columns of a CSV, gzipped CSV or Parquet file, and its rows with their places.

    Cells are text from CSV ("" when empty) and typed from Parquet.

    Raises:
        StoreError: another extension, unreadable, no table, or more than ``MAX_ROWS`` rows.
        MissingExtra: Parquet without pyarrow.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    if path.suffix.lower() == ".csv" or path.name.lower().endswith(".csv.gz"):
        return _read_csv(path)
    raise StoreError(f"cannot import {path}: only .csv, .csv.gz and .parquet are tables")


def _read_csv(path: Path) -> tuple[list[str], Iterator[tuple[str, Mapping[str, Any]]]]:
    rows = _csv_lines(path)
    _, columns = next(rows, ("", []))
    if not columns or len(set(columns)) != len(columns):
        raise StoreError(f"{path} is no table: its first line must name each column once")

    def cells() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for where, row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                raise StoreError(f"{where}: {len(row)} cells where the header has {len(columns)}")
            yield where, dict(zip(columns, row, strict=True))

    return columns, cells()


def _csv_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Lines with their places; errors name the place."""
    number = 0
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for number, row in enumerate(reader, 1):
                if number > MAX_ROWS:
                    raise StoreError(f"{path} has more than {MAX_ROWS} rows: split it")
                yield f"{path}, line {reader.line_num}", row
    except (csv.Error, UnicodeDecodeError, EOFError) as error:
        raise StoreError(f"{path} is damaged after row {number}: {error}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None


def _read_parquet(path: Path) -> tuple[list[str], Iterator[tuple[str, Mapping[str, Any]]]]:
    pyarrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
        if file.metadata.num_rows > MAX_ROWS:
            raise StoreError(f"{path} has more than {MAX_ROWS} rows: split it")
        columns = [str(name) for name in file.schema_arrow.names]
    except (pyarrow.ArrowException, OSError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    if not columns or len(set(columns)) != len(columns):
        raise StoreError(f"{path} is no table: it must name each column once")

    def cells() -> Iterator[tuple[str, Mapping[str, Any]]]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{path} is damaged after row {number}: {error}") from None

    return columns, cells()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("Parquet needs pyarrow: pip install 'lwprof[parquet]'") from None
    return pyarrow, pyarrow.parquet


def typed(cells: Mapping[str, Any], where: str) -> Cells:
    """Raw cells of a table of ours as typed ones; unknown columns are left out.

    Raises:
        StoreError: a cell that is not what its column holds.
    """
    return {
        name: _typed_cell(cells[name], kind, f"{where}: {name}")
        for name, kind in COLUMNS.items()
        if name in cells
    }


def _typed_cell(value: Any, kind: str, what: str) -> Any:
    if value is None or value == "":
        return None
    if kind in ("text", "json"):
        if not isinstance(value, str):
            raise StoreError(f"{what}: expected text, found {value!r}")
        return unprotected(value)
    return to_count(value, what) if kind == "count" else to_number(value, what)


def to_number(value: Any, what: str) -> float:
    """A cell as a finite number.

    Raises:
        StoreError: anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise StoreError(f"{what}: expected a finite number, found {str(value)[:40]!r}")
    return number


def to_count(value: Any, what: str) -> int:
    """A cell as a whole number of at least 0; ``64.0`` counts as one.

    Raises:
        StoreError: anything else.
    """
    number = to_number(value, what)
    if number < 0 or number != int(number):
        raise StoreError(f"{what}: expected a whole number, found {str(value)[:40]!r}")
    return int(number)
