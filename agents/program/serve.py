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
from .peer import HungUp, Peer
from .unpacking import worker_command

# sshd never notices a silently lost client, so silence ends the agent.
DEFAULT_SILENCE_S = 1800.0
_YOUNG_S = 60.0


def serve(workdir: str, silence_s: float = DEFAULT_SILENCE_S) -> int:
    """Answers requests on standard input until it ends or is silent for ``silence_s``.

    Returns:
        The exit status.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # stray prints, of a runtime for instance, must not reach the host's frames
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    peer = Peer(0, out)
    try:
        agent = Agent(os.path.abspath(os.path.expanduser(workdir)), peer)
    except OSError as error:
        peer.fail(None, Failure("workdir", "the folder %s cannot be used: %s" % (workdir, error)))
        return 1
    try:
        peer.send(_hello())
        while True:
            agent.answer(peer.next_request(silence_s))
    except HungUp:
        return 0
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
    """

    def __init__(self, workdir: str, peer: Peer) -> None:
        self._peer = peer
        _remove_stale(workdir)
        self._folder = tempfile.mkdtemp(prefix="run-", dir=workdir)
        self._lock = _locked(self._folder)
        command = worker_command(workdir, _own_digest())
        self._blobs = Blobs(os.path.join(workdir, "blobs"))
        self._runner = BlockRunner(command, self._folder, self._blobs, peer)
        self._operations: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
            "facts": self._facts,
            "has": self._has,
            "prepare": self._runner.prepare,
            "block": self._runner.block,
            "instruments": self._instruments,
            "state": self._state,
            "ping": self._ping,
        }

    def answer(self, request: Dict[str, Any]) -> None:
        """Answers one request, whatever it is.

        Raises:
            HungUp: the host asked to stop, or is gone.
        """
        number = request.get("id")
        if request.get("op") == "stop":
            self._peer.send({"id": number, "ok": {}})
            raise HungUp
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

    def _ping(self, args: Dict[str, Any]) -> Dict[str, Any]:
        return {"monotonic_ns": time.monotonic_ns()}


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
