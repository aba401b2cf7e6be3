"""Executes a block: its steps in order, on fresh workers, watching the device meanwhile."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Dict, List

from . import checks, conditions, energy, environment, usage
from .blobs import Blobs, digest
from .failures import Failure
from .peer import Peer
from .worker_process import WorkerProcess

_LOAD_S = 900.0
_GRACE_S = 60.0
_START_S = 60.0
_MOST_WORKERS = 16
_MOST_MODELS = 4096
_STEPS = ("load", "warm", "time", "energy", "profile", "unload")


class BlockRunner:
    """Runs blocks and preparations in a work directory.

    Args:
        command: how to start this program.
        folder: a private folder for logs and temporary files.
        blobs: the models.
        peer: the host, listened to while a worker works.
    """

    def __init__(self, command: Any, folder: str, blobs: Blobs, peer: Peer) -> None:
        self._command = command
        self._folder = folder
        self._blobs = blobs
        self._peer = peer
        self._count = 0

    def block(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """The record of one block.

        Raises:
            Failure: the script is malformed, or a step failed; nothing of a failed block
                is returned.
            HungUp: the host went away; the workers are gone.
        """
        script = checks.mapping(args.get("script"), "script")
        limit = checks.number(args.get("deadline_s", 86400.0), "deadline_s", 0.1, 7 * 86400)
        block_id = checks.text(script.get("id"), "id", 256)
        wanted = checks.items(script.get("workers"), "workers", _MOST_WORKERS)
        steps = [_step(step, len(wanted)) for step in checks.items(script.get("steps"), "steps")]
        block = _Block(time.monotonic(), limit)
        try:
            for index, worker in enumerate(wanted):
                self._start(block, checks.mapping(worker, "worker"), index)
            return self._run(block, block_id, steps)
        finally:
            block.end()
            shutil.rmtree(self._scratch(), ignore_errors=True)

    def prepare(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """What the runtime makes of a model, in a fresh process; see ``preparing``.

        Returns:
            besides its result, ``optimised``: ``sha256`` and ``size_bytes`` of the graph
            that the runtime will execute, or null.
        """
        limit = checks.number(args.get("deadline_s", _LOAD_S), "deadline_s", 0.1, 7 * 86400)
        block = _Block(time.monotonic(), limit)
        into = os.path.join(self._scratch(), "optimised.onnx")
        try:
            self._start(block, {}, 0)
            result = self._prepared(block, args, into, block.left(limit))
            result["optimised"] = self._blobs.adopt(into) if os.path.exists(into) else None
            return result
        finally:
            block.end()
            shutil.rmtree(self._scratch(), ignore_errors=True)

    def prepare_all(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """What the runtime makes of many models, in one fresh process for all of them.

        Starting a process and a runtime takes a board far longer than a small model does.

        Returns:
            ``items``: for each model ``ok`` with the result of ``prepare`` or ``error``; those
            after the one that the process died of are absent. ``pack``: a blob of all
            optimised graphs, in order.
        """
        limit = checks.number(args.get("deadline_s", _LOAD_S), "deadline_s", 0.1, 7 * 86400)
        block = _Block(time.monotonic(), limit)
        found: List[Dict[str, Any]] = []
        graphs: List[str] = []
        try:
            self._start(block, {}, 0)
            for index, item in enumerate(checks.items(args.get("items"), "items", _MOST_MODELS)):
                into = os.path.join(self._scratch(), "optimised%d.onnx" % index)
                try:
                    one = checks.mapping(item, "item")
                    found.append({"ok": self._prepared(block, one, into, block.left(limit))})
                except Failure as failure:
                    found.append({"error": failure.to_json()})
                    if failure.kind in ("worker_died", "deadline", "memory"):
                        break
                if os.path.exists(into):
                    size = os.path.getsize(into)
                    about = {"sha256": digest(into), "size_bytes": size}
                    found[-1].get("ok", {})["optimised"] = about
                    if "ok" in found[-1]:
                        graphs.append(into)
            pack = self._blobs.join(graphs, os.path.join(self._scratch(), "pack"))
            return {"items": found, "pack": pack}
        finally:
            block.end()
            shutil.rmtree(self._scratch(), ignore_errors=True)

    def _prepared(
        self, block: _Block, item: Dict[str, Any], into: str, seconds: float
    ) -> Dict[str, Any]:
        step = {
            "do": "prepare",
            "path": self._model(item),
            "options": checks.mapping(item.get("options"), "options"),
            "inputs": item.get("inputs"),
            "into": into,
        }
        result: Dict[str, Any] = block.workers[0].ask(step, seconds)
        result["optimised"] = None
        return result

    def runtimes(self) -> Dict[str, Any]:
        """The runtimes that are installed, found by a fresh process that imports them."""
        block = _Block(time.monotonic(), _GRACE_S)
        try:
            self._start(block, {}, 0)
            return block.workers[0].ask({"do": "runtimes"}, block.left(_GRACE_S))
        finally:
            block.end()
            shutil.rmtree(self._scratch(), ignore_errors=True)

    def _scratch(self) -> str:
        return os.path.join(self._folder, "block")

    def _start(self, block: _Block, wanted: Dict[str, Any], index: int) -> None:
        env = {
            checks.text(key, "env name", 128): checks.text(value, "env value")
            for key, value in checks.mapping(wanted.get("env") or {}, "env").items()
        }
        folder = os.path.join(self._scratch(), str(index))
        worker = WorkerProcess(self._command, env, folder, self._peer)
        block.workers.append(worker)
        step = {"do": "start", "affinity": wanted.get("affinity"), "nice": wanted.get("nice")}
        block.about.append(worker.ask(step, block.left(_START_S)))

    def _run(self, block: _Block, block_id: str, steps: List[Dict[str, Any]]) -> Dict[str, Any]:
        watch = environment.Watch([worker.pid for worker in block.workers])
        guard = conditions.Conditions(_cpus(block.about))
        before = environment.snapshot()
        results = []
        try:
            for step in steps:
                if step["do"] in ("time", "energy"):
                    watch.begin()
                    guard.begin()
                else:
                    guard.end()
                    watch.end()
                results.append(self._execute(block, step))
            guard.end()
            watch.end()
        finally:
            seen = guard.close()
        after = environment.snapshot()
        delta = environment.changes(before, after)
        delta.update(watch.summary())
        if seen:
            delta["seen"] = seen
        return {
            "id": block_id,
            "steps": results,
            "environment": {"before": before, "after": after, "delta": delta},
            "workers": block.finish(),
            "started_monotonic_ns": int(block.started * 1e9),
            "duration_s": time.monotonic() - block.started,
            "boot_id": environment.boot_id(),
        }

    def _execute(self, block: _Block, step: Dict[str, Any]) -> Dict[str, Any]:
        sent = {key: value for key, value in step.items() if key not in ("worker", "model")}
        seconds = _LOAD_S
        if step["do"] == "load":
            sent["path"] = self._model(step)
        elif step["do"] in ("warm", "time"):
            seconds = 2 * checks.number(step.get("max_s", 600.0), "max_s", 0, 7 * 86400) + _GRACE_S
        worker: WorkerProcess = block.workers[step["worker"]]
        if step["do"] == "energy":
            busy = list(block.about[step["worker"]].get("affinity") or [])
            return energy.execute(step, worker.ask, self._peer, busy, block.left)
        return worker.ask(sent, block.left(seconds))

    def _model(self, step: Dict[str, Any]) -> str:
        sha = checks.sha256(step.get("model"), "model")
        files = checks.mapping(step.get("files") or {}, "files")
        if not files:
            return self._blobs.path(sha)
        wanted = {
            checks.text(name, "file name", 255): checks.sha256(value, "file")
            for name, value in files.items()
        }
        self._count += 1
        folder = os.path.join(self._scratch(), "model%d" % self._count)
        return self._blobs.arrange(sha, wanted, folder)


class _Block:
    """The workers of one block and its deadline."""

    def __init__(self, started: float, limit_s: float) -> None:
        self.started = started
        self.workers: List[WorkerProcess] = []
        self.about: List[Dict[str, Any]] = []
        self._limit_s = limit_s

    def left(self, seconds: float) -> float:
        """Seconds that a step may take: its own limit or the rest of the block's."""
        left = self.started + self._limit_s - time.monotonic()
        if left <= 0:
            raise Failure(
                "deadline", "the block did not finish within %.1f s" % self._limit_s, transient=True
            )
        return min(seconds, left)

    def finish(self) -> List[Dict[str, Any]]:
        """What each worker used, asked before it ends."""
        records = []
        for worker, about in zip(self.workers, self.about):
            record = dict(about)
            record.update(worker.ask({"do": "finish"}, self.left(_START_S)))
            cpu = usage.cpu_ns(worker.pid)
            if cpu is not None:
                record["cpu_s"] = cpu * 1e-9
            record["wall_s"] = time.monotonic() - worker.started
            records.append(record)
        return records

    def end(self) -> None:
        """Kills whatever still runs."""
        for worker in self.workers:
            worker.kill()


def _cpus(about: List[Dict[str, Any]]) -> List[int]:
    return sorted({cpu for worker in about for cpu in worker.get("affinity") or []})


def _step(step: Any, workers: int) -> Dict[str, Any]:
    found = dict(checks.mapping(step, "step"))
    checks.choice(found.get("do"), "do", _STEPS)
    found["worker"] = checks.integer(found.get("worker", 0), "worker", 0, workers - 1)
    return found
