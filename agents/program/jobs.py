"""Blocks that run on when the host is cut off, and their results, kept until they are fetched.

Each job has a folder, ``WORKDIR/jobs/ID``:

``job.json``  what was asked for, and in which boot of the device
``pid``       its process and when that started
``alive``     a pipe that the process holds open: its end is the end of the process
``result``    its answer, written aside and renamed: it is there whole or not at all

Starting is idempotent: the host repeats a start whose reply was lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import shutil
import signal
import time
from typing import Any, Dict, List, Optional

from . import checks, environment, framing
from .failures import Failure
from .leases import start_time
from .peer import Peer

_ID = re.compile(r"[0-9a-f]{32}")
_OLD_S = 14 * 86400.0
_POLL_S = 0.25
_MOST_WAIT_S = 600.0
# Ends of pipes wake at once; this only bounds what a lost wake-up could cost.
_LONGEST_SLEEP_S = 5.0


class Jobs:
    """The jobs of one work folder.

    Args:
        folder: WORKDIR/jobs; made for the first job.
        peer: the host, listened to while waiting.
    """

    def __init__(self, folder: str, peer: Peer) -> None:
        self._folder = folder
        self._peer = peer
        self._ours: List[str] = []
        for name in self._names():
            if _age(os.path.join(folder, name)) > _OLD_S and self._pid(name) is None:
                self._remove(name)

    def start(
        self, job: str, request: Dict[str, Any], work: Any, after: Optional[str] = None
    ) -> None:
        """Starts a job, unless it was started before.

        Args:
            job: its id.
            request: kept beside it.
            work: called in the job's own process with its folder; returns the answer.
            after: a job whose end this one waits for; all others that live are ended.

        Raises:
            OSError: it cannot be started.
        """
        folder = self._path(job)
        if job not in self._ours:
            self._ours.append(job)
        if os.path.isdir(folder):
            return
        for other in self._names():
            if other != after and self._pid(other) is not None:
                self.end(other)  # left by a session that is over: one job at a time
        fresh = folder + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        about = {"request": request, "boot_id": environment.boot_id()}
        _write(os.path.join(fresh, "job.json"), json.dumps(about).encode())
        os.mkfifo(os.path.join(fresh, "alive"))
        alive = None if after is None else os.path.join(self._path(after), "alive")
        self._fork(fresh, folder, _after(alive, work))

    def wait(self, job: str, seconds: float) -> Dict[str, Any]:
        """Waits for a job's end, without using the processor.

        Returns:
            ``state``, and ``result`` when it is ``done``; ``running`` when the time passed.

        Raises:
            HungUp: the host went away; the job runs on.
        """
        if job not in self._ours:
            self._ours.append(job)
        deadline = time.monotonic() + min(seconds, _MOST_WAIT_S)
        while self._state(job) == "running":
            left = deadline - time.monotonic()
            if left <= 0:
                return {"state": "running"}
            self._sleep(job, left)
        state = self._state(job)
        if state == "lost":
            return {"state": state, "why": self._why(job)}
        with open(os.path.join(self._path(job), "result"), "rb") as file:
            return {"state": state, "result": framing.decode(file.read())}

    def forget(self, jobs: List[str]) -> None:
        """Removes jobs whose results the host has stored; those that run are ended."""
        for job in jobs:
            if os.path.isdir(self._path(job)):
                self.end(job)
                self._remove(job)

    def finished(self) -> List[Dict[str, Any]]:
        """Jobs with a result that nobody has acknowledged: ``job`` and its ``request``."""
        found = []
        for job in self._names():
            if not _ID.fullmatch(job) or self._state(job) != "done":
                continue
            try:
                with open(os.path.join(self._path(job), "job.json"), "rb") as file:
                    found.append({"job": job, "request": json.loads(file.read())["request"]})
            except (OSError, ValueError, KeyError):
                self._remove(job)
        return found

    def end(self, job: str) -> None:
        """Kills a job; what it started dies with it."""
        pid = self._pid(job)
        if pid is None:
            return
        started = start_time(pid)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        while start_time(pid) == started:
            _reap()
            time.sleep(0.01)

    def end_ours(self) -> None:
        """Kills the jobs that this agent started or waited for: the host wants no more."""
        for job in self._ours:
            self.end(job)

    def _fork(self, fresh: str, folder: str, work: Any) -> None:
        # A fork, not a new interpreter: that would take a slow board a good part of a second.
        alive = os.path.join(fresh, "alive")
        reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(alive, os.O_WRONLY)
        os.close(reader)
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            # Nothing is done before it is written down whose work it is.
            if os.read(wait, 1) != b"1":
                os._exit(1)
            _job_process(folder, writer, work)
        _CHILDREN.append(pid)
        os.close(wait)
        os.close(writer)
        try:
            started = start_time(pid)
            _write(os.path.join(fresh, "pid"), b"%d %d" % (pid, started or -1))
            os.rename(fresh, folder)
            os.write(go, b"1")
        finally:
            os.close(go)

    def _names(self) -> List[str]:
        return sorted(os.listdir(self._folder)) if os.path.isdir(self._folder) else []

    def _path(self, job: str) -> str:
        if not isinstance(job, str) or not _ID.fullmatch(job):
            raise checks.refuse("a job's id must be 32 hexadecimal digits")
        return os.path.join(self._folder, job)

    def _state(self, job: str) -> str:
        folder = self._path(job)
        if os.path.exists(os.path.join(folder, "result")):
            return "done"
        if self._pid(job) is not None:
            return "running"
        # It may have ended between these two looks.
        return "done" if os.path.exists(os.path.join(folder, "result")) else "lost"

    def _pid(self, job: str) -> Optional[int]:
        """The process of a job; None when it does not live."""
        _reap()
        try:
            with open(os.path.join(self._folder, job, "pid"), "rb") as file:
                pid, started = map(int, file.read().split())
        except (OSError, ValueError):
            return None
        if self._other_boot(job):
            return None  # the numbers may be somebody else's by now
        return pid if start_time(pid) == started else None

    def _other_boot(self, job: str) -> bool:
        try:
            with open(os.path.join(self._folder, job, "job.json"), "rb") as file:
                boot = json.loads(file.read()).get("boot_id")
        except (OSError, ValueError, AttributeError):
            return False
        return bool(boot != environment.boot_id())

    def _why(self, job: str) -> str:
        if not os.path.isdir(self._path(job)):
            return "it was never started"
        if self._other_boot(job):
            return "the device was restarted"
        try:
            with open(os.path.join(self._path(job), "log"), "rb") as file:
                text = file.read()[-500:].decode("utf-8", "replace").strip()
        except OSError:
            text = ""
        return "its process was killed" + (": " + text.splitlines()[-1] if text else "")

    def _sleep(self, job: str, seconds: float) -> None:
        """Sleeps until a job ends, some time passes, or the host has something to say."""
        deadline = time.monotonic() + seconds
        try:
            alive = os.open(
                os.path.join(self._path(job), "alive"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            time.sleep(min(_POLL_S, seconds))
            return
        try:
            try:
                if os.read(alive, 1) == b"":  # nobody holds it
                    time.sleep(0.001)
                    return
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    return
            self._peer.wait(alive, deadline)
        finally:
            os.close(alive)

    def _remove(self, job: str) -> None:
        # Aside first: what is half removed must not look like a job.
        aside = os.path.join(self._folder, "gone-" + job[-64:])
        try:
            os.rename(os.path.join(self._folder, job), aside)
        except OSError:
            aside = os.path.join(self._folder, job)
        shutil.rmtree(aside, ignore_errors=True)


def _after(alive: Optional[str], work: Any) -> Any:
    """``work``, begun when nobody holds the pipe ``alive`` open any more."""

    def waiting(folder: str) -> Dict[str, Any]:
        try:
            handle = -1 if alive is None else os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:  # forgotten already
            handle = -1
        if handle >= 0:
            while True:
                try:
                    if os.read(handle, 1) == b"":
                        break
                except OSError as error:
                    if error.errno != errno.EAGAIN:
                        break
                select.select([handle], [], [], _LONGEST_SLEEP_S)
            os.close(handle)
        answer: Dict[str, Any] = work(folder)
        return answer

    return waiting


def _job_process(folder: str, alive: int, work: Any) -> None:
    """The job's own process; never returns."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(alive, 3)
        # The host's channel must not stay open because of us.
        os.closerange(4, 4096)
        _leave_answer(folder, work(folder))
        status = 0
    except BaseException as error:  # noqa: BLE001 - a job must end, whatever happens
        try:
            text = "%s: %s\n" % (type(error).__name__, error)
            os.write(2, text.encode("utf-8", "replace"))
        except OSError:
            pass
    finally:
        os._exit(status)


def _leave_answer(folder: str, answer: Dict[str, Any]) -> None:
    path = os.path.join(folder, "result")
    try:
        _write(path, json.dumps(answer, allow_nan=False).encode())
    except OSError as error:
        shutil.rmtree(os.path.join(folder, "run"), ignore_errors=True)
        failure = Failure("workdir", "the result cannot be kept on the device: %s" % error)
        _write(path, json.dumps({"error": failure.to_json()}).encode())


def _write(path: str, data: bytes) -> None:
    """Writes a file whole or not at all, also when the power fails."""
    fresh = path + ".tmp"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        framing.write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(fresh, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _reap() -> None:
    """Takes leave of ended jobs that were started here."""
    # Only jobs are children of the agent that are not waited for elsewhere; a worker of
    # ``prepare`` is, so it is left alone.
    for pid in list(_CHILDREN):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except OSError:
            ended = pid
        if ended:
            _CHILDREN.remove(pid)


_CHILDREN: List[int] = []


def _age(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0
