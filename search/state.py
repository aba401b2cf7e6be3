"""Trials of a search kept in a file, so that a search that was cut off goes on where it stopped.

The file is JSON (``lwprof.search_state/1``), written beside itself and moved into place: what is
there is always whole. It belongs to one search: another space, limit or merit refuses it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Space
from lwprof.search.problem import Trials

SCHEMA = "lwprof.search_state/1"


def save(path: str | Path, trials: Trials, belongs: dict[str, Any]) -> None:
    """Writes the trials and what they belong to.

    Raises:
        UsageError: the file cannot be written.
    """
    merits = [float(m) if np.isfinite(m) else None for m in trials.merits]
    entry = {"schema": SCHEMA, "belongs": belongs, "codes": trials.codes.tolist(),
             "merits": merits, "violations": trials.violations.tolist()}  # fmt: skip
    beside = Path(f"{path}.part")
    try:
        beside.write_text(json.dumps(entry, allow_nan=False), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"cannot keep the search's state in {path}: {error.strerror}") from error


def load(path: str | Path, space: Space, belongs: dict[str, Any]) -> Trials | None:
    """The trials in a file; None where there is no file yet.

    Raises:
        UsageError: not such a file, or that of another search.
    """
    if not Path(path).exists():
        return None
    try:
        entry = json.loads(Path(path).read_text(encoding="utf-8"))
        if entry["schema"] != SCHEMA:
            raise ValueError(entry["schema"])
        if entry["belongs"] != json.loads(json.dumps(belongs)):
            raise UsageError(f"{path} belongs to another search: give another file to --resume")
        merits = [-np.inf if m is None else float(m) for m in entry["merits"]]
        codes = np.array(entry["codes"], dtype=np.int64).reshape(-1, len(space.choices))
        violations = np.array(entry["violations"], dtype=np.float64)
        if not len(codes) == len(merits) == len(violations):
            raise ValueError("rows of different length")
        return Trials(space.check(codes), np.array(merits), violations)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no state of a search: {error}") from None
