"""The same store on PostgreSQL. Opt in: LWPROF_TEST_POSTGRES=postgresql://USER@HOST/DATABASE."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from store_world import CONTEXT, MODEL, World

from lwprof.errors import StoreError
from lwprof.profiler.store import Fact, merge, migrate, open_store, request_digest

URL = os.environ.get("LWPROF_TEST_POSTGRES")
pytestmark = pytest.mark.skipif(not URL, reason="LWPROF_TEST_POSTGRES names no database")


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an empty schema that is dropped after the test."""
    base = make_url(URL or "").set(drivername="postgresql+psycopg")
    name = f"lwprof_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(base)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    yield base.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(
        hide_password=False
    )
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


def test_everything_that_sqlite_does(url: str) -> None:
    with open_store(url) as store:
        world = World(store)
        block = world.block(1, flags=("throttled",), n=2**40)
        assert store.put_block(block)
        assert not store.put_block(replace(block, mean_s=9.0))
        assert list(store.blocks(subject=MODEL, arm="end_to_end")) == [block]
        store.put_kernels(MODEL, CONTEXT.key, {"kernels": [1]})
        assert store.kernels(MODEL, CONTEXT.key) == {"kernels": [1]}
        value = 0.1 + 0.2  # a single-precision column would round it
        fact = Fact(world.run.run_id, CONTEXT.key, MODEL, "latency_s", value, None, 1.0, n=2**40)
        store.put_facts([fact])
        found = store.lookup([MODEL], CONTEXT.key)[MODEL]["latency_s"]
        assert replace(found, derived_utc="") == fact
        assert store.resume(request_digest({"models": [MODEL]})) == world.run
        with pytest.raises(StoreError, match="not stored first"):
            store.put_block(world.block(2, run_id="nothing"))
    with open_store(url, readonly=True) as store:  # it was made once and is found again
        assert store.count_blocks() == 1
    assert migrate(url) == (1, 1)


def test_rivals_store_each_block_once(url: str) -> None:
    with open_store(url) as store:
        world = World(store)
        stored: list[bool] = []

        def put() -> None:
            for number in range(40):
                stored.append(store.put_block(world.block(number)))

        rivals = [threading.Thread(target=put) for _ in range(4)]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        assert (len(stored), sum(stored), store.count_blocks()) == (160, 40, 40)


def test_rivals_make_one_store(url: str) -> None:
    failures: list[StoreError] = []

    def make() -> None:
        try:
            open_store(url).close()
        except StoreError as error:
            failures.append(error)

    rivals = [threading.Thread(target=make) for _ in range(4)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert failures == []


def test_a_store_travels_there_and_back(url: str, path: Path, tmp_path: Path) -> None:
    with open_store(path) as here, open_store(url) as there, open_store(tmp_path / "b") as back:
        world = World(here)
        for number in range(250):
            here.put_block(world.block(number, started_utc="2026-01-01T00:00:00.000000Z"))
        assert merge(there, here).added["blocks"] == 250
        assert merge(there, here).added == {}
        assert merge(back, there).added["blocks"] == 250
        assert list(back.blocks()) == list(here.blocks())


def test_an_unreachable_server_is_one_line() -> None:
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
