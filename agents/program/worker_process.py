"""The agent's side of a worker: starting it, asking it, killing it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any, Dict, Optional

from . import environment, framing
from .failures import Failure, one_line
from .peer import Peer

_READ = 1 << 16
_LOG_TAIL = 600
# One thread pool is asked for by name (the runtime's); all others stay out of the way.
_FIXED_ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class WorkerProcess:
    """A fresh process that executes steps.

    Args:
        command: how to start this program (without its command word).
        env: additions to the environment.
        folder: where its log and its runtime's temporary files go.
        peer: listened to while waiting.
    """

    def __init__(self, command: Any, env: Dict[str, str], folder: str, peer: Peer) -> None:
        self._peer = peer
        self._decoder = framing.FrameDecoder()
        self._count = 0
        self._log = os.path.join(folder, "worker.log")
        os.makedirs(folder, exist_ok=True)
        whole = dict(os.environ)
        whole.update(_FIXED_ENV)
        whole.update(env)
        whole["TMPDIR"] = folder
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                list(command) + ["worker", "--parent", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=whole,
                close_fds=True,
                start_new_session=True,
                bufsize=0,
            )
        self.started = time.monotonic()
        self._oom_kills = environment.oom_kills()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, step: Dict[str, Any], timeout_s: float) -> Dict[str, Any]:
        """The result of one step.

        Raises:
            Failure: the step failed (as the worker says), the worker died (kind
                ``worker_died``), or did not answer in time (kind ``deadline``; it is killed).
            HungUp: the host went away.
        """
        self._count += 1
        frame = framing.encode({"id": self._count, "step": step})
        try:
            framing.write_all(self._fd(self._process.stdin), frame)
        except OSError:
            raise self._death(step) from None
        reply = self._reply(step, time.monotonic() + timeout_s, timeout_s)
        if reply.get("id") != self._count:
            raise Failure("protocol", "a worker answered another question; it was ended")
        if isinstance(reply.get("error"), dict):
            raise Failure.from_json(reply["error"])
        result = reply.get("ok")
        if not isinstance(result, dict):
            raise Failure("protocol", "a worker's answer holds no result")
        return result

    def _reply(self, step: Dict[str, Any], deadline: float, timeout_s: float) -> Dict[str, Any]:
        out = self._fd(self._process.stdout)
        while True:
            if not self._peer.wait(out, deadline):
                self.kill()
                raise Failure(
                    "deadline",
                    "the step %r did not finish within %.1f s and its process was ended"
                    % (step.get("do"), timeout_s),
                    transient=True,
                )
            data = os.read(out, _READ)
            if not data:
                raise self._death(step)
            try:
                messages = self._decoder.feed(data)
            except framing.FrameError as error:
                self.kill()
                raise Failure("protocol", "a worker's answer is damaged: %s" % error) from None
            if messages:
                return messages[0]

    def _death(self, step: Dict[str, Any]) -> Failure:
        code = self._wait(5.0)
        if code is None:
            self.kill()
            return Failure("worker_died", "a worker closed its output during %r" % step.get("do"))
        if code < 0:
            how = "was killed by signal %d (%s)" % (-code, _signal_name(-code))
        else:
            how = "ended with status %d" % code
        if code == -signal.SIGKILL and environment.oom_kills() > self._oom_kills:
            return Failure("memory", "the kernel ended the worker: the device is out of memory")
        tail = self._tail()
        return Failure(
            "worker_died",
            "the worker %s during the step %r%s" % (how, step.get("do"), tail and ": " + tail),
            # A crash of the runtime's own will come again; a kill from outside may not.
            transient=code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT),
        )

    def kill(self) -> None:
        """Ends the worker and everything it started, now."""
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                self._process.kill()
        self._wait(10.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    def _wait(self, seconds: float) -> Optional[int]:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _tail(self) -> str:
        try:
            with open(self._log, "rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _LOG_TAIL))
                return one_line(log.read().decode("utf-8", "replace"))
        except OSError:
            return ""

    @staticmethod
    def _fd(pipe: Any) -> int:
        return int(pipe.fileno())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
