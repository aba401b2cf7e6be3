"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_world import World

from lwprof.profiler.store import Store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "measurements.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path) as opened:
        yield opened


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def at(path: Path) -> Iterator[Callable[[datetime], Store]]:
    """Opens the store with the wall clock stopped at a moment."""
    opened: list[Store] = []

    def open_at(moment: datetime) -> Store:
        opened.append(open_store(path, clock=lambda: moment.astimezone(UTC)))
        return opened[-1]

    yield open_at
    for store in opened:
        store.close()
