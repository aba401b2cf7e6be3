"""The host's end of the protocol: asks a device's agent and checks what it answers."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from lwprof.agents import bulk, messages, reading, resuming
from lwprof.agents.conversation import ASK_S, STOP_ID, Conversation
from lwprof.agents.deadlines import MOST_S, default_deadline_s
from lwprof.agents.detached import DetachedBlocks
from lwprof.agents.failures import to_exception
from lwprof.agents.messages import (
    BlockRecord,
    Facts,
    Output,
    Pong,
    PreparedReply,
    Snapshot,
)
from lwprof.agents.power_messages import Instruments
from lwprof.agents.program.framing import encode
from lwprof.agents.targets import Target
from lwprof.errors import DeviceError, DeviceTransient, HostError, LwprofError

# What a device or its target says it is; the less real of the two counts.
ENVIRONMENTS = ("hardware", "virtual", "emulated", "synthetic")

# A board that is only busy for a moment is not given up.
_OPEN_S = 10.0
_STOP_S = 2.0
_FACTS_S = 120.0
_PREPARE_S = 900.0
_GRACE_S = 30.0
_MAX_GRAPH_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a runtime makes of a model.

    Attributes:
        optimised: the serialised graph that it will execute; None where it has none.
        providers: execution providers of the session, in order of preference.
        node_providers: how many nodes each provider really ran.
        outputs: of one inference.
    """

    optimised: bytes | None
    providers: tuple[str, ...]
    node_providers: Mapping[str, int]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The device's monotonic clock minus this machine's, seconds, with its uncertainty.

    Attributes:
        offset_s: to be added to a time of this machine.
        round_trip_s: of the quickest question; the offset errs by at most half of it.
    """

    offset_s: float
    round_trip_s: float


class Agent(Conversation):
    """A device's agent. A context manager; opened on entry or by ``open``.

    Args:
        target: how to reach the device; it stays the caller's to close.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._facts: Facts | None = None
        self._detached = DetachedBlocks(target.name, self._ask)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Starts the agent and reads its hello.

        Raises:
            DeviceError: it does not start, or is not the agent that was carried there.
        """
        patience = _OPEN_S if self.target.detached else 0.0
        resuming.insist(self._open, patience)
        self._wanted = True

    def reopen(self) -> None:
        """Ends what is left of the agent and starts a fresh one."""
        self._drop()
        self.open()

    def close(self) -> None:
        """Ends the agent and what it runs. May be called again."""
        self._wanted = False
        if self._connection is not None and self.target.detached:
            with contextlib.suppress(LwprofError):
                self._connection.send(encode({"id": STOP_ID, "op": "stop"}), _STOP_S)
        self._drop()

    def facts(self) -> Facts:
        """What the device is; asked for once."""
        if self._facts is None:
            found = self._read(self._ask("facts", {}, _FACTS_S), Facts)
            stand_in = self.target.environment
            if stand_in in ENVIRONMENTS[ENVIRONMENTS.index(found.environment) :]:
                found = msgspec.structs.replace(found, environment=stand_in)
            self._facts = found
        return self._facts

    def instruments(self) -> Instruments:
        """The device's power sensors, found anew, and those that are of no use."""
        return self._read(self._ask("instruments", {}, ASK_S), Instruments)

    def state(self) -> Snapshot:
        """Load, clocks, heat and supply of the device now."""
        return self._read(self._ask("state", {}, ASK_S), Snapshot)

    def ping(self) -> float:
        """Seconds for one question and its answer."""
        start = time.monotonic()
        self._ask("ping", {}, ASK_S)
        return time.monotonic() - start

    def clock_offset(self, pings: int = 20) -> ClockOffset:
        """How far the device's monotonic clock is ahead of this machine's.

        The quickest of several questions bounds it best: half its round trip is the error.
        """
        best: ClockOffset | None = None
        for _ in range(max(1, pings)):
            sent = time.monotonic_ns()
            reply = self._read(self._ask("ping", {}, ASK_S), Pong)
            back = time.monotonic_ns()
            trip_s = (back - sent) * 1e-9
            if best is None or trip_s < best.round_trip_s:
                offset_s = (reply.monotonic_ns - (sent + back) / 2) * 1e-9
                best = ClockOffset(offset_s, trip_s)
        assert best is not None
        return best

    def put(self, source: bytes | Path | str) -> str:
        """Makes sure that the device holds a file; it travels once.

        Args:
            source: content, or the path of a file.

        Returns:
            Its SHA-256, by which blocks name it.

        Raises:
            HostError: the file cannot be read.
            DeviceError: the device cannot take it.
        """
        content = source if isinstance(source, bytes) else Path(source)
        sha256 = _digest(content)
        if sha256 not in self._held:
            reply = self._ask("has", {"blobs": [sha256]}, ASK_S)
            if sha256 in reply.get("missing", [sha256]):
                self._insist(lambda: self.target.push(content, sha256))
            self._held.add(sha256)
        return sha256

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """As ``put`` for many small files, which travel as one; their SHA-256 in order."""
        found = [_digest(content) for content in contents]
        unknown = {sha: content for sha, content in zip(found, contents, strict=True)
                   if sha not in self._held}  # fmt: skip
        if unknown:
            reply = self._ask("has", {"blobs": list(unknown)}, ASK_S)
            missing = set(reply.get("missing", unknown))
            packs = bulk.packs({sha: data for sha, data in unknown.items() if sha in missing})
            for data, parts in packs:
                pack = self.put(data)
                self._ask("split", {"blob": pack, "parts": parts}, _PREPARE_S)
                self._held.discard(pack)
            self._held.update(unknown)
        return found

    def prepare_all(
        self, requests: Sequence[tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    ) -> list[Prepared | LwprofError]:
        """As ``prepare`` for many small models, in one process: results, or why there is none.

        Args:
            requests: blob, options and inputs of each.
        """
        items = [{"model": model, "options": dict(options), "inputs": [dict(s) for s in inputs]}
                 for model, options, inputs in requests]  # fmt: skip
        found: list[Prepared | LwprofError] = []
        while len(found) < len(items):  # again from behind a model that the process died of
            args = {"items": items[len(found) :], "deadline_s": _PREPARE_S}
            reply = self._read(
                self._ask("prepare_all", args, _PREPARE_S + _GRACE_S), messages.PreparedAll
            )
            size = reply.pack.size_bytes
            if not 0 < len(reply.items) <= len(items) - len(found) or size > _MAX_GRAPH_BYTES:
                raise self._violation("an answer that fits no question")
            pack = b""
            if size:
                sha256 = reply.pack.sha256
                pack = self._insist(partial(self.target.pull, sha256, size))
            found += [
                to_exception(item, self.target.name)
                if isinstance(item, messages.ErrorReply)
                else Prepared(item[1], tuple(item[0].providers), dict(item[0].node_providers),
                              tuple(item[0].outputs))
                for item in bulk.unpacked(reply, pack, self.target.name)
            ]  # fmt: skip
        return found

    def prepare(
        self,
        model: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]] | None,
        deadline_s: float = _PREPARE_S,
    ) -> Prepared:
        """Loads and runs a model once, in a fresh process on the device.

        Args:
            model: SHA-256 from ``put``.
            options: runtime options; ``runtime``, ``provider``, ``threads``,
                ``optimisation``, ``disabled_optimizers``, ``spinning``, ``allow_fallback``.
            inputs: data descriptions; None: do not run it.

        Raises:
            ModelError: the runtime refuses the model.
            MissingExtra: the runtime is not installed.
            UsageError: the provider is absent or does not run every node.
            DeviceError: anything else on the device.
        """
        args = {"model": model, "options": dict(options), "deadline_s": deadline_s,
                "inputs": None if inputs is None else [dict(spec) for spec in inputs]}  # fmt: skip
        reply = self._read(self._ask("prepare", args, deadline_s + _GRACE_S), PreparedReply)
        optimised = None
        if reply.optimised is not None:
            if reply.optimised.size_bytes > _MAX_GRAPH_BYTES:
                raise DeviceError(f"{self.target.name}: the optimised graph exceeds 2 GiB")
            sha256 = reply.optimised.sha256
            size = reply.optimised.size_bytes
            optimised = self._insist(partial(self.target.pull, sha256, size))
            if hashlib.sha256(optimised).hexdigest() != sha256:
                raise DeviceTransient(f"{self.target.name}: a file was damaged on its way")
        return Prepared(
            optimised, tuple(reply.providers), dict(reply.node_providers), tuple(reply.outputs)
        )

    @property
    def queues(self) -> bool:
        """Whether the device can begin the next block by itself."""
        return self.target.detached

    def run_block(
        self,
        script: Mapping[str, Any],
        deadline_s: float | None = None,
        then: Mapping[str, Any] | None = None,
    ) -> BlockRecord:
        """Executes one block; all of it or nothing.

        Args:
            script: see the protocol; JSON.
            deadline_s: when the block must be over; default: the sum of its steps' limits.
            then: the script of the next call, which the device begins meanwhile where it can.

        Raises:
            DeviceTransient: a worker or the agent died, or the deadline passed.
            ModelError, UsageError, MissingExtra, DeviceError: as in ``prepare``.
        """
        limit = min(MOST_S, default_deadline_s(script) if deadline_s is None else deadline_s)
        if self.target.detached:
            follower = None if then is None else (then, min(MOST_S, default_deadline_s(then)))
            reply = self._detached.run(script, limit, self.target.resume_s, follower)
        else:
            args = {"script": dict(script), "deadline_s": limit}
            reply = self._ask("block", args, limit + _GRACE_S)
        try:
            return reading.block_record(reply, script, self.target.name)
        except DeviceError:
            self._drop()
            raise

    def leftovers(self) -> list[tuple[dict[str, Any], BlockRecord]]:
        """Blocks that finished on the device for a host that died: scripts and records.

        They stay on the device until the next block is started, and may have been stored.
        """
        if not self.target.detached:
            return []
        return self._detached.leftovers(self._ask)


def _digest(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HostError(f"cannot read {source}: {error.strerror or error}") from None
