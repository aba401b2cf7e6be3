"""``lwprof.report``: the HTML page of a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lwprof.errors import UsageError

_MAX_BYTES = 256 * 2**20


def report(result: Any, path: str | Path, *, redact: bool = False, **beside: Any) -> Path:
    """Writes one self-contained HTML file that needs no network.

    Args:
        result: what measure, compare, audit, search or prune returned; its JSON as a mapping; the
            path of a file with that JSON; or a list of measurements (devices × models).
        path: the file to write.
        redact: leave out hosts, addresses and serials.
        beside: of a comparison, ``a`` and ``b``: the two sides' measurements.

    Returns:
        The file's path.

    Raises:
        UsageError: it is no result, or the file cannot be written.
    """
    from lwprof.reports.html import html_of

    text = html_of(_data(result), redact=redact,
                   **{name: _data(side) for name, side in beside.items()})  # fmt: skip
    out = Path(path)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    return out


def _data(result: Any) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    if isinstance(result, str | Path):
        return read_result(result)
    if isinstance(result, list | tuple):
        return together([_data(one) for one in result])
    if hasattr(result, "to_json"):
        data: Mapping[str, Any] = result.to_json()
        return data
    raise UsageError(f"cannot report on a {type(result).__name__}: give a result or its JSON file")


def together(results: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Several measurements as one ``lwprof.measurements/1``."""
    found: list[Any] = []
    failures: list[Any] = []
    for data in results:
        if str(data.get("schema")).startswith("lwprof.measurements/"):
            found += data.get("results", [])
            failures += data.get("failures", [])
        elif str(data.get("schema")).startswith("lwprof.measurement/"):
            found.append(data)
        else:
            raise UsageError("only measurements can be put together in one page")
    return {"schema": "lwprof.measurements/1", "results": found, "failures": failures}


def read_result(path: str | Path) -> Mapping[str, Any]:
    """The JSON of a result file.

    Raises:
        UsageError: it cannot be read or is no JSON object.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{file} is larger than {_MAX_BYTES >> 20} MiB: not a result of ours")
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{file} is not JSON: give a file that lwprof wrote with --json") from None
    if not isinstance(data, dict):
        raise UsageError(f"{file} is not a result: give a file that lwprof wrote with --json")
    return data
