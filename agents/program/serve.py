"""The agent's main loop: one request after the other, until the host is gone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional

from . import checks, environment, facts, framing
from .blobs import Blobs
from .blocks import BlockRunner
from .failures import Failure
from .jobs import Jobs
from .leases import Leases
from .peer import Alone, HungUp, Peer, Stopped
from .unpacking import worker_command

# sshd never notices a silently lost client, so silence ends the agent.
DEFAULT_SILENCE_S = 1800.0
_YOUNG_S = 60.0


def serve(
    workdir: str, silence_s: float = DEFAULT_SILENCE_S, leases: Optional[Leases] = None
) -> int:
    """Answers requests on standard input until it ends or is silent for ``silence_s``.

    Args:
        leases: of the device, which is then held while this serves.

    Returns:
        The exit status.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # stray prints, of a runtime for instance, must not reach the host's frames
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    peer = Peer(0, out)
    try:
        if leases is not None:
            leases.take("serve")
        agent = Agent(os.path.abspath(os.path.expanduser(workdir)), peer, leases)
    except Failure as failure:
        peer.fail(None, failure)
        return 1
    except OSError as error:
        peer.fail(None, Failure("workdir", "the folder %s cannot be used: %s" % (workdir, error)))
        return 1
    try:
        peer.send(_hello())
        while True:
            agent.answer(peer.next_request(silence_s))
    except Stopped:
        agent.end_jobs()
        return 0
    except HungUp:
        return 0  # what runs goes on: the host may come back
    finally:
        agent.close()


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _hello() -> Dict[str, Any]:
    return {
        "protocol": framing.PROTOCOL,
        "pid": os.getpid(),
        "python": facts.interpreter(),
        "agent_sha256": _own_digest(),
    }


def _own_digest() -> str:
    program = os.path.abspath(sys.argv[0])
    if not os.path.isfile(program):
        return ""
    with open(program, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Agent:
    """The requests that an agent understands.

    Args:
        workdir: holds ``blobs`` and, while the agent lives, its own ``run-…``.
        peer: the host.
        leases: of the device; each job holds one.
    """

    def __init__(self, workdir: str, peer: Peer, leases: Optional[Leases] = None) -> None:
        self._peer = peer
        self._leases = leases
        _remove_stale(workdir)
        self._folder = tempfile.mkdtemp(prefix="run-", dir=workdir)
        self._lock = _locked(self._folder)
        self._command = worker_command(workdir, _own_digest())
        self._jobs = Jobs(os.path.join(workdir, "jobs"), peer)
        self._blobs = Blobs(os.path.join(workdir, "blobs"))
        self._runner = BlockRunner(self._command, self._folder, self._blobs, peer)
        self._operations: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "facts": self._facts,
            "has": self._has,
            "prepare": self._runner.prepare,
            "prepare_all": self._runner.prepare_all,
            "split": self._split,
            "block": self._runner.block,
            "instruments": self._instruments,
            "state": self._state,
            "ping": self._ping,
            "start": self._start,
            "await": self._await,
            "finished": self._finished,
            "forget": self._forget,
        }

    def answer(self, request: Dict[str, Any]) -> None:
        """Answers one request, whatever it is.

        Raises:
            HungUp: the host asked to stop, or is gone.
        """
        number = request.get("id")
        if request.get("op") == "stop":
            self._peer.send({"id": number, "ok": {}})
            raise Stopped
        try:
            checks.integer(number, "id", 0, 2**53)
            operation = checks.choice(request.get("op"), "op", tuple(self._operations))
            args = checks.mapping(request.get("args", {}), "args")
            reply = {"id": number, "ok": self._operations[operation](args)}
        except Failure as failure:
            reply = {"id": number, "error": failure.to_json()}
        except (OSError, MemoryError) as error:
            kind = "memory" if isinstance(error, MemoryError) else "workdir"
            found = Failure(kind, "%s: %s" % (type(error).__name__, error))
            reply = {"id": number, "error": found.to_json()}
        try:
            self._peer.send(reply)
        except framing.FrameError as error:
            self._peer.fail(number, Failure("protocol", "the answer cannot be sent: %s" % error))

    def close(self) -> None:
        """Removes this agent's own files; the blobs stay."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def end_jobs(self) -> None:
        """Ends what runs for this host."""
        self._jobs.end_ours()

    def _start(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """Starts a block that runs on without the host, and waits a while for its end."""
        job = checks.text(args.get("job"), "job", 64)
        self._forget(args)
        request = {"script": args.get("script"), "deadline_s": args.get("deadline_s", 86400.0)}
        for sha in _models(request["script"]):
            self._blobs.path(sha)  # read through here, once, and not by each job anew
        command, blobs, leases = self._command, self._blobs, self._leases

        def work(folder: str) -> Dict[str, Any]:
            return perform(BlockRunner(command, os.path.join(folder, "run"), blobs, Alone()),
                           request, leases)  # fmt: skip

        after = args.get("after")
        known = None if after is None else checks.text(after, "after", 64)
        self._jobs.start(job, request, work, known)
        return self._await(args)

    def _await(self, args: Dict[str, Any]) -> Dict[str, Any]:
        job = checks.text(args.get("job"), "job", 64)
        seconds = checks.number(args.get("timeout_s"), "timeout_s", 0, 600)
        return self._jobs.wait(job, seconds)

    def _finished(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return {"jobs": self._jobs.finished()}

    def _forget(self, args: Dict[str, Any]) -> Dict[str, Any]:
        jobs = checks.items(args.get("forget", []), "forget", 10000)
        self._jobs.forget([checks.text(job, "job", 64) for job in jobs])
        return {}

    def _facts(self, args: Dict[str, Any]) -> Dict[str, Any]:
        found = facts.collect()
        found["runtimes"] = self._runner.runtimes()
        return found

    def _instruments(self, args: Dict[str, Any]) -> Dict[str, Any]:
        from .instruments import finding  # only sessions that want energy need it

        return finding.describe()

    def _state(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return environment.snapshot()

    def _has(self, args: Dict[str, Any]) -> Dict[str, Any]:
        wanted = [checks.sha256(sha, "blob") for sha in checks.items(args.get("blobs"), "blobs")]
        missing: List[str] = self._blobs.missing(wanted)
        return {"missing": missing}

    def _split(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """Makes blobs of the parts of one, so that many small files travel as one."""
        parts = [checks.mapping(part, "part") for part in checks.items(args.get("parts"), "parts")]
        self._blobs.split(
            checks.sha256(args.get("blob"), "blob"),
            [(checks.sha256(part.get("sha256"), "part"),
              checks.integer(part.get("size_bytes"), "size_bytes", 0, 2**40)) for part in parts],
        )  # fmt: skip
        return {}

    def _ping(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return {"monotonic_ns": time.monotonic_ns()}


def perform(
    runner: BlockRunner, request: Dict[str, Any], leases: Optional[Leases]
) -> Dict[str, Any]:
    """A job's answer: ``ok`` with the block's record, or ``error``."""
    try:
        if leases is not None:
            leases.take("job")
        return {"ok": runner.block(request)}
    except Failure as failure:
        return {"error": failure.to_json()}
    except (OSError, MemoryError) as error:
        kind = "memory" if isinstance(error, MemoryError) else "workdir"
        return {"error": Failure(kind, "%s: %s" % (type(error).__name__, error)).to_json()}


def _models(script: Any) -> List[str]:
    """Files that a script names, as far as it is well-formed."""
    steps = script.get("steps") if isinstance(script, dict) else None
    loads = [step for step in steps or [] if isinstance(step, dict) and step.get("do") == "load"]
    return [checks.sha256(step.get("model"), "model") for step in loads]


def _locked(folder: str) -> Optional[int]:
    """A descriptor that holds the lock of a folder; None while another process holds it."""
    handle = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError:
        os.close(handle)
        return None


def _remove_stale(workdir: str) -> None:
    """Removes what agents that were killed have left; those that live hold their lock."""
    os.makedirs(workdir, exist_ok=True)
    for name in os.listdir(workdir):
        folder = os.path.join(workdir, name)
        # Between making its folder and locking it, an agent is only moments old.
        if not name.startswith("run-") or time.time() - _changed(folder) < _YOUNG_S:
            continue
        try:
            handle = _locked(folder)
        except OSError:
            continue
        if handle is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()
