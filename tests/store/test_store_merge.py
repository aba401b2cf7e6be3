"""Merging is a union: idempotent, in any order, and honest about what differs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import CONTEXT, MODEL, World

from lwprof.errors import StoreError
from lwprof.profiler.store import (
    Block,
    Context,
    Device,
    Fact,
    Store,
    Subject,
    merge,
    open_store,
    schema,
)

OTHER = replace(CONTEXT, threads=1)
CONTEXTS = {context.key: context for context in (CONTEXT, OTHER)}


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in an order of its own."""
    with store.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(table.select())), key=repr)
            for table in schema.metadata.sorted_tables
        }


def fill(store: Store, numbers: set[int], *, finished: bool) -> None:
    """Stores a subset of one universe of records that belong together."""
    store.put_device(Device("unit-1", "host", "host"))
    for number in sorted(numbers):
        context = CONTEXT if number % 2 else OTHER
        run_id, subject = f"run-{number % 3}", f"net-{number % 4}"
        store.put_context(context)
        store.put_subject(Subject(subject, "model", subject))
        if store.run(run_id) is None:
            store.begin_run({"n": number % 3}, kind="measure", run_id=run_id)
        stamp = f"2026-01-01T00:00:{number:02d}.000000Z"
        block = Block(f"b{number}", run_id, context.key, subject, "end_to_end", number, stamp,
                      payload={"times_ns": [[number]]})  # fmt: skip
        store.put_block(block)
        store.put_kernels(subject, context.key, {"kernels": [number % 2]})
        value = 1.0 + number
        store.put_facts([Fact(run_id, context.key, subject, "latency_s", value, value, value,
                              n=number, derived_utc=stamp)])  # fmt: skip
        if finished:
            store.finish_run(run_id)


def filled(numbers: set[int], finished: bool = False, hour: int = 0) -> Store:
    from datetime import UTC, datetime

    store = open_store("sqlite://", clock=lambda: datetime(2026, 1, 1, hour, tzinfo=UTC))
    fill(store, numbers, finished=finished)
    return store


subsets = st.sets(st.integers(0, 11), max_size=4)
laws = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@laws
@given(subsets, subsets, st.booleans())
def test_the_order_of_two_makes_no_difference(a: set[int], b: set[int], done: bool) -> None:
    with filled(a) as left, filled(b, done) as right, filled(a) as left2, filled(b, done) as right2:
        assert merge(left, right).conflicts == ()
        assert merge(right2, left2).conflicts == ()
        assert content(left) == content(right2)
        blocks = {block.block_id for block in left.blocks()}
        assert blocks == {f"b{number}" for number in a | b}


@laws
@given(subsets, subsets, subsets)
def test_three_stores_in_any_grouping(a: set[int], b: set[int], c: set[int]) -> None:
    with filled(a) as one, filled(b) as two, filled(c) as three, filled(set()) as sum_:
        for store in (three, one, two):
            merge(sum_, store)
        merge(two, three)
        merge(one, two)
        assert content(one) == content(sum_)


@laws
@given(subsets, subsets)
def test_merging_again_changes_nothing(a: set[int], b: set[int]) -> None:
    with filled(a) as left, filled(b, finished=True) as right:
        merge(left, right)
        before = content(left)
        again = merge(left, right)
        assert (dict(again.added), again.conflicts) == ({}, ())
        assert content(left) == before
        assert merge(left, left).conflicts == ()
        assert content(left) == before


def test_what_was_added_is_counted(tmp_path: Path) -> None:
    with filled({1, 2}) as left, filled({2, 3, 5}) as right:
        report = merge(left, right)
        assert report.added["blocks"] == 2
        assert report.added["runs"] == 1  # run-1 and run-2 were there; 3 brings run-0
        assert left.count_blocks() == 4


def test_more_than_a_page_of_blocks(world: World, tmp_path: Path) -> None:
    for number in range(450):
        world.store.put_block(world.block(number, started_utc="2026-01-01T00:00:00.000000Z"))
    with open_store(tmp_path / "copy.db") as copy:
        assert merge(copy, world.store).added["blocks"] == 450
        assert content(copy)["blocks"] == content(world.store)["blocks"]


def test_conflicts_are_named_and_ours_is_kept(world: World, tmp_path: Path) -> None:
    world.store.put_block(world.block(1))
    with open_store(tmp_path / "copy.db") as copy:
        merge(copy, world.store)
    path = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("UPDATE blocks SET mean_s = 7")
        plain.execute("UPDATE runs SET kind = 'compare'")
        plain.execute("UPDATE subjects SET description = '{}'")
    with open_store(path, readonly=True) as copy:
        report = merge(world.store, copy)
    assert len(report.conflicts) == 3
    for named in (f"block '{world.run.run_id}/1'", f"run '{world.run.run_id}'", f"'{MODEL}'"):
        assert any(named in line for line in report.conflicts)
    assert list(world.store.blocks()) == [world.block(1)]
    assert report.added == {}


def test_a_damaged_store_is_not_merged(world: World, tmp_path: Path) -> None:
    world.store.put_block(world.block(1))
    path = tmp_path / "copy.db"
    with open_store(path) as copy:
        merge(copy, world.store)
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("PRAGMA foreign_keys=OFF")
        plain.execute("DELETE FROM runs")
    with (
        open_store(path, readonly=True) as copy,
        open_store(tmp_path / "into.db") as into,
        pytest.raises(StoreError, match="refers to nothing in runs"),
    ):
        merge(into, copy)


def test_a_damaged_block_stops_a_merge_by_name(world: World, path: Path, tmp_path: Path) -> None:
    world.store.put_block(world.block(1))
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("UPDATE blocks SET payload = x'00'")
    with (
        open_store(tmp_path / "into.db") as into,
        pytest.raises(StoreError, match=f"block '{world.run.run_id}/1' is damaged"),
    ):
        merge(into, world.store)


def test_contexts_keep_their_keys_across_stores() -> None:
    assert {key: Context.from_json(c.to_json()).key for key, c in CONTEXTS.items()} == {
        key: key for key in CONTEXTS
    }
