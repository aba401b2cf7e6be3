"""Where measurements are kept: SQLite by default, PostgreSQL by URL.

``open_store`` opens (and makes) one; the records are plain data. SQLAlchemy is loaded when a
store is opened, not when this package is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lwprof.profiler.store.records import (
    OVERHEAD,
    Block,
    Context,
    Device,
    Fact,
    MergeReport,
    Run,
    Subject,
    request_digest,
)

if TYPE_CHECKING:
    from lwprof.profiler.store.exporting import export_table as export_table
    from lwprof.profiler.store.importing import ImportReport as ImportReport
    from lwprof.profiler.store.importing import import_table as import_table
    from lwprof.profiler.store.integrity import check as check
    from lwprof.profiler.store.merging import merge as merge
    from lwprof.profiler.store.migrating import migrate as migrate
    from lwprof.profiler.store.opening import open_store as open_store
    from lwprof.profiler.store.store import Store as Store

# public name -> module it lives in
_LAZY = {
    "ImportReport": "lwprof.profiler.store.importing",
    "check": "lwprof.profiler.store.integrity",
    "export_table": "lwprof.profiler.store.exporting",
    "import_table": "lwprof.profiler.store.importing",
    "merge": "lwprof.profiler.store.merging",
    "migrate": "lwprof.profiler.store.migrating",
    "Store": "lwprof.profiler.store.store",
    "open_store": "lwprof.profiler.store.opening",
}

__all__ = [
    "OVERHEAD", "Block", "Context", "Device", "Fact", "ImportReport", "MergeReport", "Run", "Store", "Subject",
    "check", "export_table", "import_table", "merge", "migrate", "open_store", "request_digest",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
