"""Rows of the tables to records and back. Whatever a row holds is checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwprof.errors import StoreError
from lwprof.profiler.store.codec import (
    canonical_json,
    expect_count,
    expect_number,
    expect_text,
    pack,
    parse_object,
    parse_texts,
    unpack,
)
from lwprof.profiler.store.records import (
    ENVIRONMENTS,
    ORIGINS,
    SUBJECT_KINDS,
    Block,
    Context,
    Device,
    Fact,
    Run,
    Subject,
)

Row = Mapping[Any, Any]


def _clean(text: str) -> str:
    # Undecodable file names carry lone surrogates, and PostgreSQL takes no NUL.
    return text.encode("utf-8", "replace").decode().replace("\x00", "?")


def device_row(device: Device) -> dict[str, Any]:
    """The row of ``devices`` for ``device``."""
    return {
        "hardware_id": device.hardware_id,
        "name": _clean(device.name),
        "board": _clean(device.board),
        "environment": device.environment,
        "facts": canonical_json(device.facts),
    }


def to_device(row: Row) -> Device:
    """The device of a row; StoreError when it is damaged."""
    what = f"device {row['hardware_id']!r}"
    return Device(
        expect_text(row["hardware_id"], what),
        expect_text(row["name"], what, empty=True),
        expect_text(row["board"], what, empty=True),
        _one_of(row["environment"], ENVIRONMENTS, what),
        parse_object(row["facts"], what),
    )


def context_row(context: Context) -> dict[str, Any]:
    """The row of ``contexts`` for ``context``."""
    return {
        "key": context.key,
        "hardware_id": context.hardware_id,
        "data": canonical_json(context.to_json()),
    }


def to_context(row: Row) -> Context:
    """The context of a row; StoreError when damaged or when its key is not its content's."""
    what = f"context {row['key']!r}"
    data = parse_object(row["data"], what)
    try:
        context = Context.from_json(data)
    except StoreError as error:
        raise StoreError(f"{what} is damaged: {error}") from None
    if context.key != row["key"] or context.hardware_id != row["hardware_id"]:
        raise StoreError(f"{what} is damaged: its content has another key")
    return context


def subject_row(subject: Subject) -> dict[str, Any]:
    """The row of ``subjects`` for ``subject``; StoreError for an unknown kind."""
    _one_of(subject.kind, SUBJECT_KINDS, f"subject {subject.key!r}")
    return {
        "key": subject.key,
        "kind": subject.kind,
        "name": _clean(subject.name),
        "description": canonical_json(subject.description),
    }


def to_subject(row: Row) -> Subject:
    """The subject of a row; StoreError when it is damaged."""
    what = f"subject {row['key']!r}"
    return Subject(
        expect_text(row["key"], what),
        _one_of(row["kind"], SUBJECT_KINDS, what),
        expect_text(row["name"], what, empty=True),
        parse_object(row["description"], what),
    )


def run_row(run: Run) -> dict[str, Any]:
    """The row of ``runs`` for ``run``."""
    return {
        "run_id": run.run_id,
        "request_digest": run.request_digest,
        "kind": run.kind,
        "context": run.context,
        "started_utc": run.started_utc,
        "finished_utc": run.finished_utc,
        "lwprof_version": run.lwprof_version,
        "request": canonical_json(run.request),
    }


def to_run(row: Row) -> Run:
    """The run of a row; StoreError when it is damaged."""
    what = f"run {row['run_id']!r}"
    return Run(
        expect_text(row["run_id"], what),
        expect_text(row["request_digest"], what),
        expect_text(row["kind"], what),
        _optional_text(row["context"], what),
        expect_text(row["started_utc"], what),
        expect_text(row["lwprof_version"], what, empty=True),
        parse_object(row["request"], what),
        _optional_text(row["finished_utc"], what),
    )


def block_row(block: Block) -> dict[str, Any]:
    """The row of ``blocks`` for ``block``; StoreError names it when it cannot be stored."""
    what = f"block {block.block_id!r}"
    try:
        return {
            "block_id": expect_text(block.block_id, what),
            "run_id": block.run_id,
            "context": block.context,
            "subject": block.subject,
            "arm": block.arm,
            "sequence": block.sequence,
            "started_utc": block.started_utc,
            "boot_id": block.boot_id,
            "flags": canonical_json(list(block.flags)),
            "n": expect_count(block.n, what),
            "log_median": expect_number(block.log_median, what),
            "mean_s": expect_number(block.mean_s, what),
            "payload": pack(block.payload),
        }
    except StoreError as error:
        raise StoreError(f"{what}: {error}") from None


def to_block(row: Row, *, payload: bool = True) -> Block:
    """The block of a row; StoreError names it when it is damaged."""
    what = f"block {row['block_id']!r}"
    sequence = expect_count(row["sequence"], what)
    if sequence is None:
        raise StoreError(f"{what} is damaged: it has no sequence")
    return Block(
        expect_text(row["block_id"], what),
        expect_text(row["run_id"], what),
        expect_text(row["context"], what),
        expect_text(row["subject"], what),
        expect_text(row["arm"], what),
        sequence,
        expect_text(row["started_utc"], what),
        _optional_text(row["boot_id"], what),
        parse_texts(row["flags"], what),
        expect_count(row["n"], what),
        expect_number(row["log_median"], what),
        expect_number(row["mean_s"], what),
        unpack(row["payload"], what) if payload else {},
    )


def fact_row(fact: Fact) -> dict[str, Any]:
    """The row of ``facts`` for ``fact``; StoreError when its numbers are no estimate."""
    fact.estimate()
    _one_of(fact.origin, ORIGINS, f"fact {fact.quantity!r} of {fact.subject!r}")
    return {
        "run_id": fact.run_id,
        "context": fact.context,
        "subject": fact.subject,
        "quantity": fact.quantity,
        "value": float(fact.value),
        "low": None if fact.low is None else float(fact.low),
        "high": None if fact.high is None else float(fact.high),
        "level": float(fact.level),
        "source": fact.source,
        "origin": fact.origin,
        "n": fact.n,
        "blocks": fact.blocks,
        "at_most": int(fact.at_most),
        "derived_utc": fact.derived_utc,
    }


def to_fact(row: Row) -> Fact:
    """The fact of a row; StoreError when it is damaged."""
    what = f"fact {row['quantity']!r} of {row['subject']!r}"
    value, level = expect_number(row["value"], what), expect_number(row["level"], what)
    if value is None or level is None or row["at_most"] not in (0, 1):
        raise StoreError(f"{what} is damaged: it has no value or level")
    fact = Fact(
        expect_text(row["run_id"], what),
        expect_text(row["context"], what),
        expect_text(row["subject"], what),
        expect_text(row["quantity"], what),
        value,
        expect_number(row["low"], what),
        expect_number(row["high"], what),
        level,
        expect_text(row["source"], what),
        _one_of(row["origin"], ORIGINS, what),
        expect_count(row["n"], what),
        expect_count(row["blocks"], what),
        bool(row["at_most"]),
        expect_text(row["derived_utc"], what, empty=True),
    )
    fact.estimate()
    return fact


def _optional_text(value: Any, what: str) -> str | None:
    return None if value is None else expect_text(value, what)


def _one_of(value: Any, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise StoreError(f"{what}: {value!r} is not one of {', '.join(allowed)}")
    return str(value)
