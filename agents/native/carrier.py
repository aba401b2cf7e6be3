"""What the native agent needs of a target, and what it asks of a device by shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lwprof.agents.native import rawfacts
from lwprof.agents.program.system import cpu_list
from lwprof.agents.targets import Connection
from lwprof.errors import DeviceError

_MARK = "@@lwprof@@"
_ASK_S = 60.0


class Ran(Protocol):
    """How a command on a device ended."""

    @property
    def status(self) -> int: ...

    @property
    def stdout(self) -> bytes: ...


class Carrier(Protocol):
    """A target that can also install and start programs of our own.

    Attributes:
        workdir: the folder on the device; blobs lie in ``blobs`` below it.
    """

    name: str
    environment: str | None
    workdir: Any

    def run(self, argv: Sequence[str], timeout_s: float = ...) -> Ran: ...

    def start(self, argv: Sequence[str]) -> Connection: ...

    def install(self, data: bytes, file_name: str) -> str: ...

    def push(self, source: bytes | Path, sha256: str) -> None: ...

    def pull(self, sha256: str, limit_bytes: int) -> bytes: ...


def collect(carrier: Carrier, machine: str | None) -> dict[str, Any]:
    """What a device is, asked by shell alone, so that nothing need be installed.

    Args:
        machine: what its programs are made for, where that is known better.

    Raises:
        DeviceError: it has no POSIX shell.
    """
    files = _files(carrier, (*rawfacts.FACT_FILES, "/proc/self/status"))
    names = _lines(carrier, ["uname", "-m"]) + _lines(carrier, ["uname", "-r"])
    if len(names) != 2 or "/proc/self/status" not in files:
        raise DeviceError(f"{carrier.name}: its shell does not say what the device is")
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", files["/proc/self/status"], re.MULTILINE)
    pages = _lines(carrier, ["getconf", "PAGE_SIZE"])
    told = {
        "machine": machine or names[0],
        "kernel": names[1],
        "hostname": (_lines(carrier, ["uname", "-n"]) or [""])[0],
        "allowed_cpus": cpu_list(allowed[1] if allowed else None) or [0],
        "page_bytes": int(pages[0]) if pages and pages[0].isdigit() else None,
    }
    return rawfacts.facts(told, files, _properties(carrier))


def _files(carrier: Carrier, patterns: Sequence[str]) -> dict[str, str]:
    """Texts of files, in one command: each call costs a round trip and more."""
    script = (
        f"for f in {' '.join(patterns)}; do if [ -r \"$f\" ]; then printf '\\n%s%s\\n' {_MARK} "
        '"$f"; cat "$f" 2>/dev/null; fi; done'
    )
    done = carrier.run(["sh", "-c", script], _ASK_S)
    found = {}
    for part in done.stdout.decode("utf-8", "replace").split(f"\n{_MARK}")[1:]:
        path, _, text = part.partition("\n")
        found[path.strip()] = text
    return found


def _lines(carrier: Carrier, argv: Sequence[str]) -> list[str]:
    done = carrier.run(argv, _ASK_S)
    text = done.stdout.decode("utf-8", "replace") if done.status == 0 else ""
    return [line.strip() for line in text.splitlines() if line.strip()][:1]


def _properties(carrier: Carrier) -> dict[str, str]:
    """Android's properties; none on another system."""
    done = carrier.run(["sh", "-c", "command -v getprop >/dev/null && getprop"], _ASK_S)
    text = done.stdout.decode("utf-8", "replace")
    return dict(re.findall(r"^\[([^\]]+)\]: \[(.*)\]\r?$", text, re.MULTILINE))
