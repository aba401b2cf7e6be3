"""The tables, once for SQLite and PostgreSQL. Changing them needs a new version and a migration."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

SCHEMA_VERSION = 1
# Marks an SQLite file as ours in its header: "lwpf".
APPLICATION_ID = 0x6C777066

metadata = MetaData()

# STRICT tables of SQLite know few type names; PostgreSQL needs the wide ones.
_Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
_Count: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *columns: Column[object] | CheckConstraint | Index) -> Table:
    return Table(name, metadata, *columns, sqlite_strict=True)


def _key(
    name: str, target: str, *, nullable: bool = False, primary: bool = False
) -> Column[object]:
    return Column(name, Text, ForeignKey(target), nullable=nullable, primary_key=primary)


def _text(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Text, nullable=nullable)


meta = _table(
    "meta",
    Column("name", Text, primary_key=True),
    _text("value"),
)
devices = _table(
    "devices",
    Column("hardware_id", Text, primary_key=True),
    _text("name"),
    _text("board"),
    _text("environment"),
    _text("facts"),
)
contexts = _table(
    "contexts",
    Column("key", Text, primary_key=True),
    Column("hardware_id", Text, nullable=False, index=True),
    _text("data"),
)
runs = _table(
    "runs",
    Column("run_id", Text, primary_key=True),
    Column("request_digest", Text, nullable=False, index=True),
    _text("kind"),
    _key("context", "contexts.key", nullable=True),
    _text("started_utc"),
    _text("finished_utc", nullable=True),
    _text("lwprof_version"),
    _text("request"),
)
subjects = _table(
    "subjects",
    Column("key", Text, primary_key=True),
    _text("kind"),
    _text("name"),
    _text("description"),
)
blocks = _table(
    "blocks",
    Column("block_id", Text, primary_key=True),
    _key("run_id", "runs.run_id"),
    _key("context", "contexts.key"),
    _key("subject", "subjects.key"),
    _text("arm"),
    Column("sequence", Integer, nullable=False),
    _text("started_utc"),
    _text("boot_id", nullable=True),
    _text("flags"),
    Column("n", _Count),
    Column("log_median", _Real),
    Column("mean_s", _Real),
    Column("payload", LargeBinary, nullable=False),
    Index("blocks_by_run", "run_id", "sequence"),
    Index("blocks_by_subject", "subject", "context", "arm"),
)
# A model's kernels in a context. Kept by content: another lwprof may map them otherwise.
kernels = _table(
    "kernels",
    _key("subject", "subjects.key", primary=True),
    _key("context", "contexts.key", primary=True),
    Column("digest", Text, primary_key=True),
    _text("stored_utc"),
    Column("data", LargeBinary, nullable=False),
)
facts = _table(
    "facts",
    _key("run_id", "runs.run_id", primary=True),
    _key("context", "contexts.key", primary=True),
    _key("subject", "subjects.key", primary=True),
    Column("quantity", Text, primary_key=True),
    Column("value", _Real, nullable=False),
    Column("low", _Real),
    Column("high", _Real),
    Column("level", _Real, nullable=False),
    _text("source"),
    _text("origin"),
    Column("n", _Count),
    Column("blocks", _Count),
    Column("at_most", Integer, nullable=False),
    _text("derived_utc"),
    Index("facts_by_subject", "subject", "context", "quantity"),
)
