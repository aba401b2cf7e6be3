"""From a result's JSON to its page."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lwprof.errors import UsageError
from lwprof.reports.page import render

# schema without its version -> module whose page_of draws it
_PAGES = {
    "lwprof.measurement": "lwprof.reports.model",
    "lwprof.measurements": "lwprof.reports.matrix",
    "lwprof.comparison": "lwprof.reports.comparison",
    "lwprof.device": "lwprof.reports.device",
    "lwprof.audit": "lwprof.reports.audit",
    "lwprof.search": "lwprof.reports.search",
    "lwprof.prune": "lwprof.reports.pruning",
}


def schema_of(data: Any) -> str:
    """The kind of a result, e.g. ``lwprof.measurement``.

    Raises:
        UsageError: it is none of ours.
    """
    schema = data.get("schema") if isinstance(data, Mapping) else None
    kind = str(schema).partition("/")[0]
    if kind not in _PAGES:
        raise UsageError(
            f"no report for the schema {str(schema)[:60]!r}: give a file that lwprof wrote with "
            "--json (measure, compare, audit, search or prune)"
        )
    return kind


def html_of(data: Mapping[str, Any], *, redact: bool = False, **beside: Any) -> str:
    """The page of a result.

    Args:
        data: its JSON form.
        redact: leave out hosts, addresses and serials.
        beside: of a comparison, ``a`` and ``b``: the measurements of its sides.

    Raises:
        UsageError: it is no result, or too damaged to be drawn.
    """
    module = importlib.import_module(_PAGES[schema_of(data)])
    if redact:
        from lwprof.reports.redacting import redacted

        data, beside = redacted(data), redacted(beside)
    return render(module.page_of(data, **beside))
