"""The lease on a device: one session measures at a time, and its end frees the device.

Each process that works for a session holds the lock of a file of its own in a folder that
all users of the device share. The kernel drops the lock when the process ends, however it
ends, so a lease can never outlive its holder. Files say who holds them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import time
from typing import Any, Dict, List, Optional

from .failures import Failure, one_line

_MOST_BYTES = 4096
_MUTEX_S = 10.0
_STEP_S = 0.02


class Leases:
    """The leases of one device.

    Args:
        folder: shared by all users; made where it is absent.
        session: identifies ours; processes of one session do not hinder each other.
        holder: who holds it: JSON with ``who`` for people; its other fields let the same host
            see that a holder of its own is dead.
    """

    def __init__(self, folder: str, session: str, holder: str) -> None:
        self._folder = folder
        self._session = session
        self._holder = holder

    def take(self, role: str) -> int:
        """Holds the device for our session until the returned descriptor is closed everywhere.

        Args:
            role: ``serve`` or ``job``; part of the file's name.

        Raises:
            Failure: kind ``busy``; another session holds it. The message says who.
        """
        self._make_folder()
        mutex = self._mutex()
        try:
            for other in self._others():
                who = one_line(_who(other.get("holder")))[:200]
                raise Failure("busy", "another session is measuring here: %s; wait for its end, "
                              "or end it there" % who)  # fmt: skip
            return self._hold(role)
        finally:
            os.close(mutex)

    def end(self, session: str) -> None:
        """Kills what holds the device for another session, which the caller knows to be dead."""
        for name in self._names():
            if name.split(".")[1] != session or self._free(name):
                continue
            pid, started = (self._read(name).get(key) for key in ("pid", "started"))
            if type(pid) is int and pid > 1 and started == start_time(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
                _await_end(pid, started)

    def _make_folder(self) -> None:
        try:
            os.mkdir(self._folder)
            os.chmod(self._folder, 0o1777)
        except FileExistsError:
            pass
        except OSError as error:
            text = "the folder %s cannot be made: %s" % (self._folder, error)
            raise Failure("workdir", text) from None
        # Nobody may lead us elsewhere by a link.
        if not stat.S_ISDIR(os.lstat(self._folder).st_mode):
            raise Failure("workdir", "%s is in the way of the lease" % self._folder)

    def _mutex(self) -> int:
        """Keeps two processes from taking the device at the same moment."""
        path = os.path.join(self._folder, "mutex")
        handle = _open_shared(path)
        end = time.monotonic() + _MUTEX_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except OSError:
                if time.monotonic() > end:
                    os.close(handle)
                    text = "the lease is being taken by others"
                    raise Failure("busy", text, transient=True) from None
                time.sleep(_STEP_S)

    def _names(self) -> List[str]:
        names = os.listdir(self._folder)
        return sorted(name for name in names if name.startswith("held.") and name.count(".") == 3)

    def _others(self) -> List[Dict[str, Any]]:
        found = []
        for name in self._names():
            if name.split(".")[1] != self._session and not self._free(name):
                found.append(self._read(name))
        return found

    def _free(self, name: str) -> bool:
        """Whether nobody holds a file any more; it is then removed, where that is allowed."""
        path = os.path.join(self._folder, name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            with contextlib.suppress(OSError):  # another user's
                os.unlink(path)
            return True
        finally:
            os.close(handle)

    def _read(self, name: str) -> Dict[str, Any]:
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                found = json.loads(file.read(_MOST_BYTES).decode("utf-8", "replace"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _hold(self, role: str) -> int:
        name = "held.%s.%s.%d" % (self._session, role, os.getpid())
        path = os.path.join(self._folder, name)
        with contextlib.suppress(OSError):
            os.unlink(path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = {"holder": self._holder[:2000], "session": self._session, "pid": os.getpid(),
                 "started": start_time(os.getpid())}  # fmt: skip
        # One line each, so that all can be read at once.
        os.write(handle, json.dumps(about).encode() + b"\n")
        return handle


def start_time(pid: int) -> Optional[int]:
    """When a process started, in the kernel's ticks since boot; None: it does not live.

    With it, a process is told from a later one of the same number.
    """
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _who(holder: Any) -> str:
    try:
        return str(json.loads(holder)["who"])
    except (ValueError, TypeError, KeyError):
        return "somebody"


def _await_end(pid: int, started: Any) -> None:
    for _ in range(250):
        if start_time(pid) != started:
            return
        time.sleep(_STEP_S)


def _open_shared(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        return handle
