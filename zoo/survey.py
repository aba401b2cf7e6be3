"""Table 1 of the survey (Long, Bi, Sun: "Lightweight Design and Optimization methods for DCNNs").

Its one column of storage mixes megabytes (10⁶) and mebibytes (2²⁰); each row says which of
the two its figure is, or how far it is from both.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: its label, the zoo's name, its "MB", what explains a difference."""

    label: str
    name: str
    storage: int
    remark: str


def table_1() -> list[Row]:
    """The table's lines, in its order."""
    with Path(__file__).with_name("survey.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [Row(label, name, int(storage), remark) for label, name, storage, remark in rows]
