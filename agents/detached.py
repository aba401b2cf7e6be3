"""Blocks that run on the device on their own, so that a lost link costs nothing.

The device keeps a finished block until the host says, with its next start, that it has it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from lwprof.agents import reading
from lwprof.agents.failures import to_exception
from lwprof.agents.messages import BlockRecord, ErrorReply, Message
from lwprof.errors import DeviceError, DeviceTransient, LwprofError

Asks = Callable[[str, Mapping[str, Any], float], dict[str, Any]]
"""Asks the device: operation, arguments, seconds; comes back from lost links by itself."""

_START_S = 120.0
# The device is asked so often, so that an agent without a host can end.
_POLL_S = 20.0
_GRACE_S = 30.0
_MOST_LEFT = 10000


class _State(Message, frozen=True):
    """Where a job stands."""

    state: Literal["running", "done", "lost"]
    why: str = ""
    result: dict[str, Any] = msgspec.field(default_factory=dict)


class _Finished(Message, frozen=True):
    """Jobs whose results nobody has acknowledged."""

    jobs: list[dict[str, Any]]


class DetachedBlocks:
    """Runs the blocks of one agent detached.

    Args:
        device: its name, for messages.
        ask: see ``Asks``.
    """

    def __init__(self, device: str, ask: Asks) -> None:
        self._device = device
        self._ask = ask
        # A script whose outcome is unknown keeps its job: it may have finished meanwhile.
        self._open: dict[str, str] = {}
        self._got: list[str] = []

    def run(
        self,
        script: Mapping[str, Any],
        limit_s: float,
        resume_s: float,
        then: tuple[Mapping[str, Any], float] | None = None,
    ) -> dict[str, Any]:
        """The reply to one block.

        Args:
            script: the block.
            limit_s: device time that it may take.
            resume_s: how long lost links may take on top of it.
            then: the block that will be asked for next, and its limit: the device begins it
                as soon as this one is over, while this one's record still travels.

        Raises:
            DeviceTransient: the device lost it, or it was not over in time.
            LwprofError: what the device reports.
        """
        name = str(script["id"])
        job = self._open.setdefault(name, uuid.uuid4().hex)
        give_up = time.monotonic() + limit_s + resume_s + _GRACE_S
        if then is None:
            found = self._start(job, script, limit_s)
        else:
            found = self._start(job, script, limit_s, wait_s=0.0)
            follower = self._open.setdefault(str(then[0]["id"]), uuid.uuid4().hex)
            if found.state == "running":
                queued = self._start(follower, then[0], then[1], wait_s=0.0, after=job)
                if queued.state == "lost":  # with an earlier attempt at this one
                    self._resolved(str(then[0]["id"]), follower)
        while found.state == "running":
            if time.monotonic() > give_up:
                self._resolved(name, job)
                raise DeviceTransient(f"{self._device}: a block was not over within its deadline")
            found = self._state("await", {"job": job, "timeout_s": _POLL_S}, _POLL_S + _GRACE_S)
        self._resolved(name, job)
        if found.state == "lost":
            why = reading.clean(found.why)
            raise DeviceTransient(f"{self._device}: a block was lost on the device: {why}")
        return self._result(found)

    def leftovers(self, ask: Asks) -> list[tuple[dict[str, Any], BlockRecord]]:
        """Finished blocks of a host that died; those that cannot be read are dropped."""
        listed = reading.read(ask("finished", {}, _START_S), _Finished, self._device)
        found: list[tuple[dict[str, Any], BlockRecord]] = []
        for entry in listed.jobs[:_MOST_LEFT]:
            job, request = entry.get("job"), entry.get("request")
            if not isinstance(job, str) or not isinstance(request, dict) or job in self._got:
                continue
            script: dict[str, Any] = request.get("script") or {}
            state = self._state("await", {"job": job, "timeout_s": 0.0}, _START_S)
            try:
                record = reading.block_record(self._result(state), script, self._device)
            except (LwprofError, KeyError, TypeError):
                pass  # it failed there: nothing finished
            else:
                found.append((script, record))
            self._got.append(job)
        return found

    def _start(
        self,
        job: str,
        script: Mapping[str, Any],
        limit_s: float,
        *,
        wait_s: float = _POLL_S,
        after: str | None = None,
    ) -> _State:
        got = list(self._got)
        args = {"job": job, "script": dict(script), "deadline_s": limit_s, "forget": got,
                "timeout_s": wait_s, "after": after}  # fmt: skip
        state = self._state("start", args, _START_S)
        self._got = [old for old in self._got if old not in got]
        return state

    def _state(self, operation: str, args: Mapping[str, Any], timeout_s: float) -> _State:
        return reading.read(self._ask(operation, args, timeout_s), _State, self._device)

    def _result(self, state: _State) -> dict[str, Any]:
        if "error" in state.result:
            error = reading.read(state.result["error"], ErrorReply, self._device)
            raise to_exception(error, self._device)
        reply = state.result.get("ok")
        if not isinstance(reply, dict):
            raise DeviceError(f"{self._device} sent a block without content; measure again")
        return reply

    def _resolved(self, name: str, job: str) -> None:
        self._open.pop(name, None)
        self._got.append(job)
