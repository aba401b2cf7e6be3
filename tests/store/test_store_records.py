"""What goes into a store comes out of it, once, and nothing else does."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from store_world import CONTEXT, MODEL, World

from lwprof.errors import StoreError
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import (
    Block,
    Context,
    Device,
    Fact,
    Store,
    Subject,
    merge,
    open_store,
    request_digest,
)


def test_a_block_comes_back_as_it_went_in(world: World) -> None:
    block = world.block(1, flags=("throttled", "swapped"))
    assert world.store.put_block(block)
    assert list(world.store.blocks()) == [block]


def test_the_same_block_id_again_changes_nothing(world: World) -> None:
    first = world.block(1)
    assert world.store.put_block(first)
    assert not world.store.put_block(first)
    assert not world.store.put_block(replace(first, mean_s=9.0, payload={"other": 1}))
    assert list(world.store.blocks()) == [first]


def test_blocks_are_chosen_by_every_given_key_and_come_in_order(world: World) -> None:
    other = "cd" * 32
    world.store.put_subject(Subject(other, "model", "b.onnx"))
    # More than one page, stored out of order.
    for number in reversed(range(450)):
        subject = other if number % 3 == 0 else MODEL
        arm = "profiled" if number % 2 else "end_to_end"
        stamp = f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000000Z"
        world.store.put_block(world.block(number, subject=subject, arm=arm, started_utc=stamp))
    found = world.store.blocks(subject=other, arm="profiled", context=CONTEXT.key)
    assert [block.sequence for block in found] == list(range(3, 450, 6))
    assert [block.sequence for block in world.store.blocks(run=world.run.run_id)] == [*range(450)]
    assert list(world.store.blocks(run="nobody")) == []
    assert world.store.count_blocks(run=world.run.run_id) == 450


def test_payloads_can_be_left_out(world: World) -> None:
    world.store.put_block(world.block(1))
    (block,) = world.store.blocks(payload=False)
    assert block == replace(world.block(1), payload={})


def test_numpy_samples_are_stored_as_numbers(world: World) -> None:
    payload = {"times_ns": np.arange(3, dtype=np.int64), "mean_s": np.float64(0.5)}
    world.store.put_block(world.block(1, payload=payload))
    (block,) = world.store.blocks()
    assert block.payload == {"times_ns": [0, 1, 2], "mean_s": 0.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": {"x": math.nan}},
        {"payload": {"x": [math.inf]}},
        {"payload": {"x": object()}},
        {"payload": {"x": "\ud800"}},
        {"log_median": math.nan},
        {"n": -1},
        {"block_id": ""},
    ],
)
def test_a_block_that_is_no_json_is_refused_by_name(world: World, changes: dict) -> None:
    with pytest.raises(StoreError, match="block"):
        world.store.put_block(world.block(1, **changes))
    assert world.store.count_blocks() == 0


@pytest.mark.parametrize("key", ["run_id", "context", "subject"])
def test_a_block_that_belongs_to_nothing_is_refused(world: World, key: str) -> None:
    with pytest.raises(StoreError, match="not stored first"):
        world.store.put_block(world.block(1, **{key: "nothing"}))


def test_an_unfinished_run_is_resumed_for_seven_days(
    world: World, at: Callable[[datetime], Store]
) -> None:
    start = datetime.fromisoformat(world.run.started_utc)
    digest = request_digest({"models": [MODEL]})
    assert world.store.resume(digest) == world.run
    assert world.store.resume(request_digest({"models": []})) is None
    assert at(start + timedelta(days=6, hours=23)).resume(digest) == world.run
    assert at(start + timedelta(days=7, seconds=1)).resume(digest) is None
    world.store.finish_run(world.run.run_id)
    assert world.store.resume(digest) is None


def test_the_latest_of_several_unfinished_runs_is_resumed(at: Callable[[datetime], Store]) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 5, 4)]
    runs = [at(moment).begin_run({"a": 1}, kind="measure", context=CONTEXT) for moment in moments]
    assert at(moments[1]).resume(request_digest({"a": 1})) == runs[1]


def test_finishing_twice_keeps_the_first_time(world: World) -> None:
    world.store.finish_run(world.run.run_id)
    first = world.store.run(world.run.run_id)
    world.store.finish_run(world.run.run_id)
    assert world.store.run(world.run.run_id) == first
    assert first is not None and first.finished_utc is not None


def test_latest_run_of_a_subject(world: World) -> None:
    assert world.store.latest_run(MODEL, CONTEXT.key) is None
    world.store.put_block(world.block(1))
    second = world.store.begin_run({"again": 1}, kind="measure", context=CONTEXT)
    world.store.put_block(world.block(2, run_id=second.run_id))
    world.store.finish_run(world.run.run_id)
    latest = world.store.latest_run(MODEL, CONTEXT.key)
    assert latest is not None and latest.run_id == second.run_id
    done = world.store.latest_run(MODEL, CONTEXT.key, finished=True)
    assert done is not None and done.run_id == world.run.run_id


def test_contexts_differ_exactly_when_a_field_differs() -> None:
    variants = [
        CONTEXT,
        replace(CONTEXT, hardware_id="unit-2"),
        replace(CONTEXT, runtime_version="1.33"),
        replace(CONTEXT, provider="CUDA"),
        replace(CONTEXT, threads=4),
        replace(CONTEXT, affinity=None),
        replace(CONTEXT, affinity=(1, 0)),
        replace(CONTEXT, batch=1),
        replace(CONTEXT, precision="int8"),
        replace(CONTEXT, power_mode="15W"),
        replace(CONTEXT, environment="emulated"),
        replace(CONTEXT, options={"schedule": "untuned"}),
    ]
    assert len({variant.key for variant in variants}) == len(variants)
    assert len({variant.describe() for variant in variants}) == len(variants) - 1  # hardware id
    for variant in variants:
        assert Context.from_json(variant.to_json()) == variant
    options = {"a": 1, "b": 2}
    turned = dict(reversed(options.items()))
    assert replace(CONTEXT, options=options).key == replace(CONTEXT, options=turned).key


def test_contexts_of_a_device(world: World) -> None:
    other = replace(CONTEXT, threads=1)
    world.store.put_context(other)
    world.store.put_context(replace(CONTEXT, hardware_id="unit-2"))
    assert {context.key for context in world.store.contexts("unit-1")} == {CONTEXT.key, other.key}
    assert len(world.store.contexts()) == 3
    assert world.store.context(CONTEXT.key) == CONTEXT
    assert world.store.context("c1:none") is None


def test_a_device_keeps_its_identity_and_gets_new_facts(world: World) -> None:
    world.store.put_device(Device("unit-1", "desk", "host", facts={"cores": 8}))
    assert world.store.devices() == [Device("unit-1", "desk", "host", facts={"cores": 8})]


def test_subjects_by_kind_name_and_context(world: World) -> None:
    workload = Subject("w1:" + "0" * 64, "workload", "Conv", {"op": "Conv"})
    world.store.put_subjects([workload, replace(workload, name="renamed")])
    assert world.store.subjects(kind="workload") == [workload]
    assert [s.key for s in world.store.subjects(name="net.onnx")] == [MODEL]
    assert world.store.subjects(context=CONTEXT.key) == []
    world.store.put_block(world.block(1))
    assert [s.key for s in world.store.subjects(context=CONTEXT.key)] == [MODEL]
    with pytest.raises(StoreError, match="not one of"):
        world.store.put_subject(Subject("x", "thing"))


def test_kernels_are_the_latest_stored(world: World) -> None:
    first, second = {"kernels": [1]}, {"kernels": [2]}
    assert world.store.kernels(MODEL, CONTEXT.key) is None
    for kernels in (first, second, first):
        world.store.put_kernels(MODEL, CONTEXT.key, kernels)
        assert world.store.kernels(MODEL, CONTEXT.key) == kernels


def fact(world: World, **changes: object) -> Fact:
    return replace(
        Fact(world.run.run_id, CONTEXT.key, MODEL, "latency_s", 1.0, 0.9, 1.1), **changes
    )


def test_lookup_prefers_the_measured_then_the_latest(world: World) -> None:
    later = world.store.begin_run({"b": 1}, kind="measure", context=CONTEXT)
    imported = world.store.begin_run({"c": 1}, kind="import", context=CONTEXT)
    world.store.put_facts(
        [
            fact(world, run_id=imported.run_id, value=3.0, high=4.0, origin="imported"),
            fact(world, run_id=later.run_id, value=2.0, high=4.0),
            fact(world, quantity="energy_j"),
            fact(world),
        ]
    )
    found = world.store.lookup([MODEL, "unknown", MODEL], CONTEXT.key)
    assert set(found) == {MODEL}
    assert {name: item.value for name, item in found[MODEL].items()} == {
        "latency_s": 2.0,
        "energy_j": 1.0,
    }
    assert world.store.lookup([MODEL], "c1:other") == {}


def test_a_fact_computed_again_replaces_the_old_one(world: World) -> None:
    world.store.put_facts([fact(world)])
    world.store.put_facts([fact(world, value=1.05, n=7)])
    (stored,) = world.store.facts(run=world.run.run_id)
    assert (stored.value, stored.n) == (1.05, 7)


@pytest.mark.parametrize(
    "estimate",
    [
        Estimate(2.0, 1.5, 2.5, 0.9, "measured", 8, 400),
        Estimate(2.0, -math.inf, math.inf, blocks=1, n=5),
        Estimate(2.0, -math.inf, 2.0, at_most=True),
        Estimate(2.0, 2.0, 2.0, source="computed"),
    ],
)
def test_an_estimate_survives_the_store(world: World, estimate: Estimate) -> None:
    keys = {"run_id": world.run.run_id, "context": CONTEXT.key, "subject": MODEL}
    world.store.put_facts([Fact.of(estimate, quantity="latency_s", **keys)])
    assert world.store.lookup([MODEL], CONTEXT.key)[MODEL]["latency_s"].estimate() == estimate


@pytest.mark.parametrize(
    "changes", [{"low": 2.0}, {"value": math.nan}, {"source": "guessed"}, {"origin": "there"}]
)
def test_a_fact_that_is_no_estimate_is_refused(world: World, changes: dict) -> None:
    with pytest.raises(StoreError):
        world.store.put_facts([fact(world, **changes)])
    assert world.store.facts() == []


def test_undecodable_names_can_be_stored(world: World) -> None:
    name = os.fsdecode(b"caf\xe9\x00.onnx")
    world.store.put_subject(Subject("ef" * 32, "model", name))
    found = world.store.subject("ef" * 32)
    assert found is not None and found.name == "caf??.onnx"


def test_sqlite_is_set_up_to_survive(world: World, path: Path) -> None:
    with world.store.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 2, 1, 0]
    with sqlite3.connect(path) as plain:
        tables = plain.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    plain.close()
    assert tables and all(sql.rstrip().endswith("STRICT") for (sql,) in tables)


def test_reading_only_never_writes(world: World, path: Path) -> None:
    world.store.put_block(world.block(1))
    with open_store(path, readonly=True) as readonly:
        assert list(readonly.blocks()) == [world.block(1)]
        with pytest.raises(StoreError, match="for reading only"):
            readonly.put_block(world.block(2))


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("LWPROF_STORE", raising=False)
    with open_store() as store:
        assert Path(store.url).parts[-2:] == ("lwprof", "measurements.db")
        assert Path(store.url).is_file()
    monkeypatch.setenv("LWPROF_STORE", f"sqlite:///{tmp_path}/other.db")
    with open_store() as store:
        assert store.url == str(tmp_path / "other.db")
    with open_store(tmp_path / "third.db") as store:
        assert store.url == str(tmp_path / "third.db")


def test_a_store_in_memory() -> None:
    with open_store("sqlite://") as store:
        world = World(store)
        store.put_block(world.block(1))
        assert list(store.blocks()) == [world.block(1)]


def test_records_are_made_without_a_database() -> None:
    import subprocess
    import sys

    code = (
        "import sys, lwprof.profiler.store as s; s.Block; s.Context\n"
        "print([m for m in ('sqlalchemy', 'pandas', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert Block  # the records above come from the package itself


def test_a_name_belongs_to_one_device(world: World, tmp_path: Path) -> None:
    theirs = replace(CONTEXT, hardware_id="unit-2")
    with open_store(tmp_path / "other.db") as other:
        other.put_device(Device("unit-2", "host", "host"))
        other.put_context(theirs)
        merge(world.store, other)
        # Nobody's host is taken for ours, whoever came first.
        assert world.store.contexts("host") == [CONTEXT]
        assert world.store.contexts("unit-2") == [theirs]
        other.put_device(Device("unit-1", "host", "host"))
        other.put_context(CONTEXT)
        assert other.contexts("host") == [CONTEXT]
    names = {device.hardware_id: device.name for device in world.store.devices()}
    assert names["unit-1"] == "host" and names["unit-2"].startswith("host@")
    assert world.store.contexts(names["unit-2"]) == [theirs]
