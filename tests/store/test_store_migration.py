"""An old store is brought up to date whole, or stays as it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_world import CONTEXT, MODEL

from lwprof.errors import StoreError
from lwprof.profiler.store import migrate, open_store, request_digest
from lwprof.profiler.store.integrity import check

REQUEST = {"models": [MODEL]}


@pytest.fixture
def old(path: Path) -> Path:
    """A store in the layout before 0.1: plain-text payloads, no devices, no facts."""
    context = {name: value for name, value in CONTEXT.to_json().items() if name != "options"}
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.executescript(
            """
            CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
            CREATE TABLE contexts (key TEXT PRIMARY KEY, data TEXT);
            CREATE TABLE subjects (key TEXT PRIMARY KEY, kind TEXT, name TEXT);
            CREATE TABLE runs (run_id TEXT PRIMARY KEY, request_digest TEXT, context TEXT,
                               started_utc TEXT, finished_utc TEXT, request TEXT);
            CREATE TABLE blocks (block_id TEXT PRIMARY KEY, run_id TEXT, subject TEXT, arm TEXT,
                                 sequence INTEGER, started_utc TEXT, payload TEXT);
            INSERT INTO meta VALUES ('schema_version', '0');
            """
        )
        plain.execute("INSERT INTO contexts VALUES ('ctx', ?)", (json.dumps(context),))
        plain.execute("INSERT INTO subjects VALUES (?, 'model', 'net.onnx')", (MODEL,))
        plain.execute(
            "INSERT INTO runs VALUES ('r', ?, 'ctx', '2026-01-01T00:00:00.000000Z', NULL, ?)",
            (request_digest(REQUEST), json.dumps(REQUEST)),
        )
        for number in range(3):
            plain.execute(
                "INSERT INTO blocks VALUES (?, 'r', ?, 'end_to_end', ?, ?, ?)",
                (
                    f"r/{number}",
                    MODEL,
                    number,
                    f"2026-01-01T00:00:0{number}.000000Z",
                    json.dumps({"times_ns": [[number, 2]]}),
                ),
            )
    return path


def test_an_old_store_is_refused_with_the_way_out(old: Path) -> None:
    with pytest.raises(StoreError, match="lwprof store migrate"):
        open_store(old)


def test_migration_keeps_everything(old: Path) -> None:
    assert migrate(old) == (0, 1)
    with open_store(old) as store:
        assert check(store) == []
        (run,) = store.runs()
        assert run.finished_utc is None and run.context == CONTEXT.key
        assert run.request == REQUEST and run.request_digest == request_digest(REQUEST)
        assert store.contexts("unit-1") == [CONTEXT]
        assert [device.hardware_id for device in store.devices()] == ["unit-1"]
        blocks = list(store.blocks(subject=MODEL, context=CONTEXT.key))
        assert [block.payload for block in blocks] == [{"times_ns": [[n, 2]]} for n in range(3)]
    with closing(sqlite3.connect(old)) as plain:
        tables = {name for (name,) in plain.execute("SELECT name FROM sqlite_schema")}
    assert not {name for name in tables if name.endswith("_v0")}


def test_migrating_again_does_nothing(old: Path) -> None:
    migrate(old)
    before = old.read_bytes()
    assert migrate(old) == (1, 1)
    assert old.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("UPDATE blocks SET payload = '{' WHERE sequence = 2", "block 'r/2'"),
        ("UPDATE blocks SET run_id = 'nobody' WHERE sequence = 1", "block 'r/1'"),
        ("UPDATE runs SET context = 'nowhere'", "run 'r'"),
        ("UPDATE contexts SET data = '{}'", "context"),
    ],
)
def test_a_damaged_old_store_stays_as_it_was(old: Path, statement: str, names: str) -> None:
    with closing(sqlite3.connect(old)) as plain, plain:
        plain.execute(statement)
        before = list(plain.iterdump())
    with pytest.raises(StoreError, match=names):
        migrate(old)
    with closing(sqlite3.connect(old)) as plain:
        assert list(plain.iterdump()) == before


def test_a_newer_store_is_not_migrated_down(path: Path) -> None:
    open_store(path).close()
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("UPDATE meta SET value = '2'")
    with pytest.raises(StoreError, match="newer lwprof"):
        migrate(path)


def test_nothing_to_migrate(path: Path) -> None:
    with pytest.raises(StoreError, match="nothing to migrate"):
        migrate(path)
    assert not path.exists()
