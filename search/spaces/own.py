"""A space of one's own: a table of costs in a CSV file, or a class in a script.

The table has a row for each option of each block:

    block,choice,latency_s,energy_j,merit
    base,,0.002,0.001,60
    layer0,conv3x3,0.0031,0.0012,1.5

``base`` is what every architecture costs besides, nothing where it is left out. A column
``merit`` adds up, too; columns ``*_s``, ``*_j`` and ``*_bytes`` are costs in SI units.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.predictors.space import Codes, Floats
from lwprof.scripts import load
from lwprof.search.spaces.coded import CodedSpace
from lwprof.search.spaces.options import OptionSpace

LARGEST_BYTES = 64 * 2**20
COSTS = ("_s", "_j", "_bytes")


class TableSpace(OptionSpace):
    """The space that a table of costs describes.

    Attributes:
        table: its costs.
        merits: (blocks, most choices) and a base, where the table has a column ``merit``.
    """

    def __init__(self, path: str | Path) -> None:
        rows = _rows(Path(path))
        self.name = Path(path).stem
        blocks: dict[str, list[str]] = {}
        for row in rows:
            if row["block"] != "base":
                blocks.setdefault(row["block"], []).append(row["choice"])
        super().__init__(blocks)
        columns = [name for name in rows[0] if name.endswith(COSTS)]
        if not columns:
            raise UsageError(f"{path}: no column of costs; name one latency_s, energy_j or *_bytes")
        costs, base = self._gather(rows, columns, str(path))
        self.table = BlockTable(self.choices, costs, base, columns, "measured", "imported")
        self._merits = self._gather(rows, ["merit"], str(path)) if "merit" in rows[0] else None

    def _gather(self, rows: list[dict[str, str]], columns: list[str], path: str) -> Any:
        costs = np.full((len(self.choices), max(self.choices), len(columns)), np.nan)
        base, names = np.zeros(len(columns)), list(self.blocks)
        for number, row in enumerate(rows, 2):
            try:
                values = [float(row[name]) for name in columns]
                if not np.isfinite(values).all():
                    raise ValueError
            except (TypeError, ValueError):
                raise UsageError(f"{path}, line {number}: {', '.join(columns)} must be numbers") \
                    from None  # fmt: skip
            if row["block"] == "base":
                base += values
            else:
                block = names.index(row["block"])
                costs[block, self.blocks[row["block"]].index(row["choice"])] = values
        return costs, base

    @property
    def additive_merit(self) -> Floats | None:
        """(blocks, most choices) of the column ``merit``; None without it."""
        return None if self._merits is None else np.nan_to_num(self._merits[0][:, :, 0])

    def merit(self, codes: Codes) -> Floats:
        """(n,) sums of the column ``merit``.

        Raises:
            UsageError: the table has no such column.
        """
        if self._merits is None:
            raise UsageError(f"the table of {self.name} has no column merit: give --merit")
        costs, base = self._merits
        return BlockTable(self.choices, costs, base, ["merit"]).predict(codes)[:, 0]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the table {path}: {error}") from None
    if not rows or not {"block", "choice"} <= set(rows[0]):
        raise UsageError(f"{path}: a space needs rows with the columns block, choice and costs")
    return rows


def open_space(address: str) -> CodedSpace:
    """The space in a ``.csv`` table, or made by ``script.py:Class``.

    Raises:
        UsageError: it cannot be read, or is no space.
    """
    if address.endswith(".csv"):
        return TableSpace(address)
    made = load(address)
    found = made() if isinstance(made, type) else made
    if not isinstance(found, CodedSpace):
        raise UsageError(f"{address} is a {type(found).__name__}, not a space: derive it from "
                         "lwprof.search.spaces.options.OptionSpace")  # fmt: skip
    return found
