"""Runs blocks on a device, one after the other, and stores each the moment it is finished."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lwprof.agents import Agent
from lwprof.errors import DeviceTransient
from lwprof.profiler.session.guard import Guard
from lwprof.profiler.statistics import block_flags
from lwprof.profiler.store import Block, Context, Run, Store, Subject

# How often a block that failed for a passing reason (a killed worker, a lost link)
# is done again before the run gives up.
_RETRIES = 3

Progress = Callable[[str, float, float], None]
"""Called with what is being done, device seconds spent, and device seconds expected."""


Visit = tuple[str, str, Mapping[str, Any]]
"""A block to be run: arm, subject, script."""


class BudgetSpent(Exception):
    """The device time that was asked for is used up. Never reaches the user."""


@dataclass(slots=True)
class Runner:
    """One run on one device: executes, retries, flags and stores blocks.

    Attributes:
        spent_s: device time used so far, blocks of an interrupted run included.
        sequence: number of the next block in the run.
        guard: keeps blocks from beginning on a device that is hot or throttled.
        queued: block that the device was told to begin by itself.
        highest: highest clock and highest allowed clock seen in the run's windows, Hz.
    """

    agent: Agent
    store: Store
    run: Run
    context: Context
    budget_s: float
    rng: random.Random
    progress: Progress = lambda *_: None
    spent_s: float = 0.0
    sequence: int = 0
    done: list[Block] = field(default_factory=list)
    guard: Guard | None = None
    queued: str | None = None
    highest: dict[str, float] = field(default_factory=dict)

    def recall(self) -> None:
        """Loads the blocks that an interrupted run has stored, and those that it has not.

        A block that the device finished while this side was being killed waits there.
        """
        for block in self.store.blocks(run=self.run.run_id):
            self.done.append(block)
            self.spent_s += float(block.payload["record"].get("duration_s", 0.0))
            self.sequence = max(self.sequence, block.sequence + 1)
            self._note(block.payload["record"])
        self._flag_again()
        stored = {block.block_id for block in self.done}
        for script, record in self.agent.leftovers():
            note = script.get("note")
            if script.get("id") in stored or not isinstance(note, Mapping):
                continue
            arm, subject = str(note.get("arm")), str(note.get("subject"))
            if note.get("run") == self.run.run_id and self.store.subject(subject) is not None:
                self._keep(arm, subject, script, record.to_json())

    def blocks(self, arm: str, subject: str) -> list[Block]:
        """Finished blocks of one arm of one subject, in the order in which they ran."""
        return [b for b in self.done if b.arm == arm and b.subject == subject]

    def execute_all(self, visits: Sequence[Visit]) -> None:
        """Runs blocks in the order given and stores each.

        Where the device can, it begins the next one while the last one's record travels and is
        stored, so that it does not wait for the link.

        Raises:
            BudgetSpent, DeviceError: as in ``execute``; blocks before stay stored.
        """
        queued = False
        for place, (arm, subject, script) in enumerate(visits):
            then = visits[place + 1] if place + 1 < len(visits) and self._goes_on() else None
            self.execute(arm, subject, script, needed=queued, then=then)
            queued = then is not None

    def _goes_on(self) -> bool:
        """Whether another block will fit behind the next one, and nothing need be waited for."""
        if not getattr(self.agent, "queues", False) or not self.done:
            return False
        last = self.done[-1].payload["record"]
        after = (last.get("environment") or {}).get("after") or {}
        calm = self.guard is None or not self.guard.reasons(after)
        return calm and self.spent_s + float(last.get("duration_s", 0.0)) < self.budget_s

    def execute(
        self,
        arm: str,
        subject: str,
        script: Mapping[str, Any],
        *,
        needed: bool = False,
        then: Visit | None = None,
    ) -> Block:
        """Runs one block and stores it.

        Args:
            needed: run it even when the budget is spent: without it there is no result.
            then: the next one, which the device may begin by itself.

        Raises:
            BudgetSpent: the device time is used up; nothing was run.
            DeviceError: it failed, and trying again did not help.
        """
        if self.spent_s >= self.budget_s and not needed:
            raise BudgetSpent
        if self.guard is not None and not self._began(script):
            self.guard.before(
                lambda: self.agent.state().to_json(),
                tell=lambda text: self.progress(text, self.spent_s, self.budget_s),
            )
        noted = self._noted(arm, subject, script)
        follower = None if then is None else self._noted(*then)
        record = self._attempt(noted, follower)
        self.queued = None if follower is None else str(follower["id"])
        return self._keep(arm, subject, noted, record)

    def _noted(self, arm: str, subject: str, script: Mapping[str, Any]) -> dict[str, Any]:
        return {**script, "note": {"run": self.run.run_id, "arm": arm, "subject": subject}}

    def _began(self, script: Mapping[str, Any]) -> bool:
        """Whether the device has begun a block by itself; its flags speak for it."""
        return self.queued is not None and self.queued == str(script["id"])

    def _keep(
        self, arm: str, subject: str, script: Mapping[str, Any], record: Mapping[str, Any]
    ) -> Block:
        self.spent_s += float(record["duration_s"])
        block = Block(
            block_id=str(script["id"]),
            run_id=self.run.run_id,
            context=self.context.key,
            subject=subject,
            arm=arm,
            sequence=self.sequence,
            started_utc=self.store.now(),
            boot_id=record.get("boot_id"),
            flags=tuple(self._flags(record)),
            **_summary(script, record),
            payload={"script": dict(script), "record": dict(record)},
        )
        self.store.put_block(block)
        self.sequence += 1
        self.done.append(block)
        return block

    def _attempt(
        self, script: Mapping[str, Any], then: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        for attempt in range(_RETRIES):
            try:
                if then is None:
                    return self.agent.run_block(script).to_json()
                return self.agent.run_block(script, then=then).to_json()
            except DeviceTransient:
                if attempt == _RETRIES - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
                if not self.agent.alive:
                    self.agent.reopen()
        raise AssertionError("unreachable")

    def _flags(self, record: Mapping[str, Any]) -> list[str]:
        if self._note(record):
            self._flag_again()
        return self._flags_of(record)

    def _flags_of(self, record: Mapping[str, Any]) -> list[str]:
        flags: list[str] = []
        context = {**self.context.to_json(), **self.highest}
        if self.guard is not None and self.guard.limit_c is not None:
            context["max_temp_c"] = self.guard.limit_c
        for worker in record.get("workers", ()):
            for flag in block_flags(record.get("environment", {}), worker, context):
                if flag not in flags:
                    flags.append(flag)
        return flags

    def _flag_again(self) -> None:
        """Flags finished blocks anew: one that was slow throughout shows only beside others."""
        for place, block in enumerate(self.done):
            flags = {*block.flags, *self._flags_of(block.payload["record"])}
            self.done[place] = replace(block, flags=tuple(sorted(flags)))

    def _note(self, record: Mapping[str, Any]) -> bool:
        """Keeps the highest clocks seen, against which a throttled block stands out.

        Returns:
            Whether one of them rose.
        """
        before = dict(self.highest)
        seen = (record.get("environment", {}).get("delta") or {}).get("seen") or {}
        for name in ("high_freq_hz", "high_limit_hz"):
            value = seen.get(name)
            if isinstance(value, int | float):
                self.highest[name] = max(self.highest.get(name, 0.0), float(value))
        return self.highest != before


def add_subjects(store: Store, models: Mapping[str, str], workloads: Mapping[str, Any]) -> None:
    """Registers models (sha256 → name) and workloads (key → description) as subjects."""
    subjects = [Subject(key, "model", name) for key, name in models.items()]
    subjects += [
        Subject(key, "workload", "+".join(description.get("op_types", [])), description)
        for key, description in workloads.items()
    ]
    store.put_subjects(subjects)


def _summary(script: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Iterations and log median of a block's plain session, where it has one."""
    times = [
        value
        for step, result in zip(script["steps"], record["steps"], strict=False)
        if step["do"] == "time"
        for part in result["times_ns"].get("plain", ())
        for value in part
    ]
    if not times:
        return {}
    seconds = np.asarray(times, dtype=np.float64) * 1e-9
    return {"n": len(times), "log_median": float(np.log(np.median(seconds)))}
