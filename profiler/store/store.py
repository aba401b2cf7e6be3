"""The store: every finished block is on disk before the call that stored it returns."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from lwprof.profiler.store.catalogue import Catalogue
from lwprof.profiler.store.derived import Derived
from lwprof.profiler.store.runs import Runs
from lwprof.profiler.store.samples import Samples


class Store(Runs, Catalogue, Samples, Derived):
    """An open store. Use ``open_store``; close it, or use it as a context manager.

    Safe to use from several threads and processes at once: every method is one
    transaction. Records that exist are never changed, except that a run gets finished, a
    device gets new facts and derived facts are replaced when they are computed again.

    Every method raises StoreError for whatever the database complains about and for
    records that do not hold what they should.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
