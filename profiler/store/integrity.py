"""Whether the database itself is sound, below the level of records."""

from __future__ import annotations

from sqlalchemy import text

from lwprof.errors import StoreError
from lwprof.profiler.store.store import Store

_MOST = 20  # a ruined file has thousands of complaints that say the same


def check(store: Store) -> list[str]:
    """What is wrong with the database; empty when nothing is.

    PostgreSQL checks its pages and references itself, so only SQLite is looked at.
    """
    try:
        with store.reading() as connection:
            if connection.dialect.name != "sqlite":
                return []
            pages = connection.execute(text(f"PRAGMA quick_check({_MOST})")).scalars().all()
            problems = [str(line) for line in pages if line != "ok"]
            for row in connection.execute(text("PRAGMA foreign_key_check")).all()[:_MOST]:
                problems.append(f"a record of {row[0]} refers to nothing in {row[2]}")
            return problems
    except StoreError as error:
        return [str(error)]
