"""Who holds a device's lease, as seen from the host: ourselves, and our own dead."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from lwprof.agents.program.leases import start_time

_SESSION = re.compile(r"[0-9a-f]{32}")


def holder() -> str:
    """This process, for the lease's file: JSON with ``who`` and what tells it from others."""
    pid = os.getpid()
    return json.dumps({
        "who": f"{_user()}@{socket.gethostname()}, process {pid}",
        "machine": _machine(), "boot": _boot(), "pid": pid, "started": start_time(pid),
    })  # fmt: skip


def dead_sessions(held: Iterable[str]) -> list[str]:
    """Sessions of this machine whose process has ended, so that nobody waits for them.

    Args:
        held: what the lease's files on the device say.
    """
    found: list[str] = []
    for line in held:
        try:
            about = json.loads(line)
            who = json.loads(about["holder"])
            session, pid = about["session"], who["pid"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            continue
        if who.get("machine") != _machine() or type(pid) is not int or not 0 < pid < 2**31:
            continue
        lives = who.get("boot") == _boot() and start_time(pid) == who.get("started")
        if not lives and session not in found:
            found.append(session)
    return found


def _machine() -> str:
    """This machine and its space of process numbers, also after a restart."""
    parts = [socket.gethostname(), _text("/etc/machine-id")]
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
