"""One block on native programs: its steps in order, on fresh processes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lwprof.agents.deadlines import default_deadline_s
from lwprof.agents.native import rawfacts
from lwprof.agents.native.worker import NativeWorker
from lwprof.agents.program.environment import changes
from lwprof.errors import DeviceTransient, UsageError

if TYPE_CHECKING:
    from lwprof.agents.native.agent import NativeAgent

_LOAD_S = 900.0
_GRACE_S = 60.0
_ASK_S = 60.0
_STEPS = ("load", "warm", "time", "profile", "unload")
_USAGE = ("major_faults", "voluntary_switches", "nonvoluntary_switches", "rss_bytes",
          "rss_peak_bytes", "rss_anon_bytes", "swap_bytes")  # fmt: skip


class NativeBlock:
    """A block in the making.

    Each worker of the script that uses several networks becomes as many processes, since
    a program holds one network; their sessions cannot share a step.

    Args:
        agent: starts the processes.
        script: as ``Agent.run_block`` takes it.
        deadline_s: when it must be over; default: the sum of its steps' limits.
    """

    def __init__(
        self, agent: NativeAgent, script: Mapping[str, Any], deadline_s: float | None
    ) -> None:
        self._agent = agent
        self._name = agent.target.name
        self._script = script
        limit = default_deadline_s(script) if deadline_s is None else deadline_s
        self._deadline = time.monotonic() + limit
        self._workers: dict[tuple[int, str], NativeWorker] = {}
        self._about: dict[tuple[int, str], dict[str, Any]] = {}
        self._sessions: dict[tuple[int, str], NativeWorker] = {}

    def run(self) -> dict[str, Any]:
        """The block's record, as it would travel.

        Raises:
            DeviceTransient: a process died, or the deadline passed.
            DeviceError, UsageError: a step was refused.
        """
        begun = time.monotonic()
        for step in self._script["steps"]:
            if step["do"] == "load":
                self._start(int(step.get("worker", 0)), str(step["model"]))
        if {worker for worker, _ in self._workers} != set(range(len(self._script["workers"]))):
            raise UsageError(f"{self._name}: every worker of a block must load something")
        before = self._snapshot()
        steps = [self._execute(step) for step in self._script["steps"]]
        after = self._snapshot()
        finished = {key: worker.ask({"do": "finish"}, self._left(_ASK_S))
                    for key, worker in self._workers.items()}  # fmt: skip
        delta = changes(before, after)
        delta.update(_watched([answer["watch"] for answer in finished.values()]))
        return {
            "id": self._script["id"],
            "steps": steps,
            "environment": {"before": before, "after": after, "delta": delta},
            "workers": [self._record(index, finished)
                        for index in range(len(self._script["workers"]))],
            "started_monotonic_ns": before["monotonic_ns"],
            "duration_s": time.monotonic() - begun,
            "boot_id": self._agent.facts().boot_id,
        }  # fmt: skip

    def close(self) -> None:
        """Ends every process."""
        for worker in self._workers.values():
            worker.close()

    def _start(self, index: int, model: str) -> None:
        if (index, model) in self._workers:
            return
        worker = self._agent.start(model)
        self._workers[(index, model)] = worker
        wanted = self._script["workers"][index]
        step = {"do": "start", "affinity": wanted.get("affinity"), "nice": wanted.get("nice")}
        self._about[(index, model)] = worker.ask(step, self._left(_ASK_S))

    def _snapshot(self) -> dict[str, Any]:
        worker = next(iter(self._workers.values()))
        return rawfacts.snapshot(*worker.files(rawfacts.SNAPSHOT_FILES))

    def _execute(self, step: Mapping[str, Any]) -> dict[str, Any]:
        index, do = int(step.get("worker", 0)), str(step["do"])
        if do not in _STEPS:
            raise UsageError(f"{self._name}: the native agent knows no step {do!r}")
        if do == "load":
            model, session = str(step["model"]), str(step["session"])
            worker = self._workers[(index, model)]
            sent = self._agent.load_step(model, session, step["options"], step.get("inputs"))
            self._sessions[(index, session)] = worker
            return worker.ask(sent, self._left(_LOAD_S))
        names = [str(n) for n in step.get("sessions") or [step.get("session")]]
        workers = {id(self._session(index, name)): self._session(index, name) for name in names}
        if len(workers) != 1:
            raise UsageError(
                f"{self._name}: a native program holds one network, so a step cannot mix several"
            )
        seconds = 2 * float(step.get("max_s", 600.0)) + _GRACE_S
        sent = {key: value for key, value in step.items() if key != "worker"}
        return next(iter(workers.values())).ask(sent, self._left(seconds))

    def _session(self, index: int, name: str) -> NativeWorker:
        worker = self._sessions.get((index, name))
        if worker is None:
            raise UsageError(f"{self._name}: no session {name!r} is loaded")
        return worker

    def _record(
        self, index: int, finished: Mapping[tuple[int, str], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """What a worker used; of several processes the memory and switches of the first."""
        keys = [key for key in finished if key[0] == index]
        first, usage = finished[keys[0]], finished[keys[0]]["usage"]
        return {
            **self._about[keys[0]],
            **{name: usage[name] for name in _USAGE if name in usage},
            "rss_start_bytes": first["rss_start_bytes"],
            "cpu_s": sum(finished[key]["usage"]["cpu_s"] for key in keys),
            "wall_s": time.monotonic() - self._workers[keys[0]].started,
        }

    def _left(self, seconds: float) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeviceTransient(f"{self._name}: the block did not finish in time")
        return min(seconds, left)


def _watched(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Processor time over the timed windows of all processes, as seconds and fractions."""
    total: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + value
    if not total.get("windows"):
        return {}
    out: dict[str, Any] = {**total, "windows": int(total["windows"])}
    capacity = total.get("capacity_s", 0.0)
    if capacity > 0:
        others = total["busy_s"] - total["own_s"]
        wanted = total["busy_s"] + total["steal_s"]
        out["competing_cpu_fraction"] = min(1.0, max(0.0, others / capacity))
        out["steal_fraction"] = total["steal_s"] / wanted if wanted > 0 else 0.0
    return out
