"""Stores that are not ours, not sound or not friendly: one clear line, never a traceback."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from store_world import CONTEXT, MODEL, World

from lwprof.errors import StoreError
from lwprof.profiler.store import codec, open_store
from lwprof.profiler.store import engine as engines
from lwprof.profiler.store.integrity import check


def make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as plain, plain:
        for statement in statements:
            plain.execute(statement)


def not_a_database(path: Path) -> None:
    path.write_bytes(b"latency,1\n" * 100)


def cut_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00")


def lying_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8000)


def folder(path: Path) -> None:
    path.mkdir()


def other_program(path: Path) -> None:
    make(path, "CREATE TABLE bookmarks (url TEXT)")


def foreign_meta(path: Path) -> None:
    make(path, "CREATE TABLE meta (a, b)")


def no_version(path: Path) -> None:
    make(path, "CREATE TABLE meta (name TEXT, value TEXT)")


def odd_version(path: Path) -> None:
    make(path, "CREATE TABLE meta (name, value)", "INSERT INTO meta VALUES ('schema_version','x')")


def newer(path: Path) -> None:
    open_store(path).close()
    make(path, "UPDATE meta SET value = '99'")


def no_table(path: Path) -> None:
    open_store(path).close()
    make(path, "DROP TABLE facts")


def no_column(path: Path) -> None:
    open_store(path).close()
    make(path, "ALTER TABLE facts DROP COLUMN origin")


def trigger(path: Path) -> None:
    open_store(path).close()
    make(path, "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM blocks; END")


def view(path: Path) -> None:
    make(path, "CREATE VIEW meta AS SELECT 'schema_version' AS name, '1' AS value")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (not_a_database, "no SQLite database"),
        (cut_header, "no SQLite database"),
        (lying_header, "damaged or no SQLite database"),
        (folder, "is a folder"),
        (other_program, "another program"),
        (foreign_meta, "'meta' differs"),
        (no_version, "no schema version"),
        (odd_version, "no schema version"),
        (newer, "newer lwprof"),
        (no_table, "lacks the table 'facts'"),
        (no_column, "lacks origin"),
        (trigger, "trigger 'evil'"),
        (view, "view 'meta'"),
    ],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_not_ours_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], says: str, readonly: bool
) -> None:
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=says) as caught:
        open_store(path, readonly=readonly)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://host/db", "cannot be kept in 'mysql'"),
        ("nonsense://", "cannot be kept"),
        ("postgresql://user:secret@host:port/db", "cannot read"),
        ("sqlite:///x.db?mode=memory", "takes no options"),
        ("", "is empty"),
    ],
)
def test_urls_that_are_none_of_ours(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_missing_store_is_not_made_by_looking(path: Path) -> None:
    for options in ({"readonly": True}, {"create": False}):
        with pytest.raises(StoreError, match="no store at"):
            open_store(path, **options)
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_without_rights(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o400)
    with open_store(path) as store, pytest.raises(StoreError, match="cannot be written"):
        World(store)


def test_a_read_only_database_says_so(world: World) -> None:
    with world.store.writing() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        with (
            pytest.raises(StoreError, match="cannot be written"),
            engines.translated(world.store._location),
        ):
            connection.exec_driver_sql("DELETE FROM blocks")
        connection.exec_driver_sql("PRAGMA query_only=OFF")


def test_a_locked_store_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_S", 0.05)
    with open_store(path) as store:
        World(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with open_store(path) as store, pytest.raises(StoreError, match="is locked"):
            World(store)
        holder.execute("ROLLBACK")


def test_ruined_pages_are_found(path: Path) -> None:
    with open_store(path) as store:
        world = World(store)
        for number in range(60):
            world.store.put_block(world.block(number, payload={"x": os.urandom(4000).hex()}))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 4))
    with open_store(path, readonly=True) as store:
        assert check(store)


# Each is written past the checks of put_block, as a crafted or rotten file would have it.
DAMAGE = {
    "payload no zlib": ("payload", b"not compressed"),
    "payload cut": ("payload", zlib.compress(b'{"a": 1}' * 99)[:-9]),
    "payload no JSON": ("payload", zlib.compress(b"{")),
    "payload NaN": ("payload", zlib.compress(b'{"a": NaN}')),
    "payload a list": ("payload", zlib.compress(b"[1]")),
    "payload too deep": ("payload", zlib.compress(b'{"a":' + b"[" * 100_000)),
    "payload no text": ("payload", zlib.compress(b"\xff\xfe")),
    "flags no JSON": ("flags", "throttled"),
    "flags no list": ("flags", '{"a": 1}'),
    "flags of numbers": ("flags", "[1]"),
    "flags that break out": ("flags", '[],"x":[]'),
    "negative count": ("n", -5),
    "infinite median": ("log_median", float("inf")),
    "negative sequence": ("sequence", -1),
    "no arm": ("arm", ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_block_is_named(world: World, path: Path, damage: str) -> None:
    world.store.put_block(world.block(1))
    column, value = DAMAGE[damage]
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute(f"UPDATE blocks SET {column} = ?", (value,))
    with pytest.raises(StoreError, match=f"block '{world.run.run_id}/1'"):
        list(world.store.blocks())


def test_a_payload_bomb_is_refused(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "MAX_PAYLOAD_BYTES", 10_000)
    world.store.put_block(world.block(1))
    bomb = zlib.compress(b'{"a":"' + b" " * 20_000 + b'"}')
    with closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("UPDATE blocks SET payload = ?", (bomb,))
    with pytest.raises(StoreError, match="more than 10000 bytes"):
        list(world.store.blocks())
    with pytest.raises(StoreError, match="larger than a store takes"):
        world.store.put_block(world.block(2, payload={"a": " " * 20_000}))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE contexts SET data = '{}'",
        "UPDATE contexts SET data = replace(data, '\"threads\":2', '\"threads\":4')",
        'UPDATE contexts SET data = replace(data, \'"threads":2\', \'"threads":"2"\')',
        'UPDATE contexts SET data = replace(data, \'"threads":2\', \'"threads":2,"x":1\')',
        "UPDATE contexts SET data = 'null'",
    ],
)
def test_a_damaged_context_is_named(world: World, path: Path, statement: str) -> None:
    make(path, statement)
    with pytest.raises(StoreError, match=f"context '{CONTEXT.key}'"):
        world.store.contexts()


def test_damaged_subjects_runs_and_devices_are_named(world: World, path: Path) -> None:
    make(path, "UPDATE subjects SET kind = 'x'", "UPDATE runs SET request = '1'",
         "UPDATE devices SET environment = 'dream'")  # fmt: skip
    for read, name in (
        (lambda: world.store.subject(MODEL), f"subject '{MODEL}'"),
        (world.store.runs, f"run '{world.run.run_id}'"),
        (world.store.devices, "device 'unit-1'"),
    ):
        with pytest.raises(StoreError, match=name):
            read()
