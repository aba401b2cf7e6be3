"""What a search maximises: a column of a table, a function in a script, or counted MACs."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats, Space
from lwprof.scripts import load_function
from lwprof.search.spaces.own import LARGEST_BYTES

ARCHITECTURE = ("architecture", "arch", "ops", "code")


def merit_of(text: str | None, space: Space) -> tuple[Callable[[Codes], Any], bool]:
    """The merit that ``--merit`` names, and whether it is an accuracy.

    ``FILE.csv[:column]`` (architectures in a column architecture, arch or ops; else the merit is
    the last column), ``script.py:function`` (list of architectures → list of numbers), ``macs``
    (more is better: a stand-in where nothing is trained), or None for the merit of a table space.

    Raises:
        UsageError: nothing of the kind.
    """
    if text is None:
        own = getattr(space, "merit", None)
        if own is None:
            raise UsageError("what is a good architecture? Give --merit FILE.csv, "
                             "--merit script.py:function, or --merit macs as a stand-in")  # fmt: skip
        return own, True
    if text == "macs":
        return _macs(space), False
    if ".py:" in text:
        function = load_function(text)
        return lambda codes: function(space.decode(codes)), True
    path, _, column = text.partition(".csv")
    if ".csv" not in text:
        raise UsageError(f"--merit {text!r}: write FILE.csv, FILE.csv:column, script.py:function "
                         "or macs")  # fmt: skip
    packed = column.startswith(".gz")
    name = column[3 if packed else 0 :].removeprefix(":")
    return _Listed(Path(f"{path}.csv{'.gz' if packed else ''}"), name, space), True


def _macs(space: Space) -> Callable[[Codes], Floats]:
    for name in ("mmacs", "footprint"):
        count: Any = getattr(space, name, None)
        if count is not None and name == "mmacs":
            return lambda codes: np.asarray(count(codes), dtype=np.float64)
        if count is not None:
            return lambda codes: np.asarray(count(codes).macs / 1e6, dtype=np.float64)

    def built(codes: Codes) -> Floats:
        from lwprof.profiler.graph import read

        graphs = (read(space.build(text)) for text in space.decode(codes))
        return np.array([(g.macs or 0) / 1e6 for g in graphs])

    return built


class _Listed:
    """Merits of the architectures in a table; NaN for others."""

    def __init__(self, path: Path, column: str, space: Space) -> None:
        names, rows = _table(path)
        key = next((name for name in ARCHITECTURE if name in names), None)
        column = column or names[-1]
        if key is None or column not in names:
            raise UsageError(f"{path}: give columns architecture and {column!r}; it has "
                             f"{', '.join(names)}")  # fmt: skip
        place, value = names.index(key), names.index(column)
        try:
            merits = np.array([float(row[value]) for row in rows])
        except (ValueError, IndexError):
            raise UsageError(f"{path}: column {column!r} must hold numbers") from None
        codes = space.encode([row[place] for row in rows])
        self._known = {code.tobytes(): merit for code, merit in zip(codes, merits, strict=True)}

    def __call__(self, codes: Codes) -> Floats:
        return np.array([self._known.get(code.tobytes(), np.nan) for code in codes])


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB")
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the merits {path}: {error}") from None
    if len(rows) < 2:
        raise UsageError(f"{path} holds no rows")
    return rows[0], rows[1:]
