"""What is asked of a device by its shell alone, so that nothing need be installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lwprof.agents.native import rawfacts
from lwprof.agents.program.system import cpu_list
from lwprof.agents.targets._carrier import Carrier
from lwprof.errors import DeviceError

_MARK = "@@lwprof@@"
_ASK_S = 60.0


def collect(carrier: Carrier, machine: str | None) -> dict[str, Any]:
    """What a device is.

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


def snapshot(carrier: Carrier) -> dict[str, Any]:
    """Load, clocks and heat now, as ``messages.Snapshot`` has them."""
    files = _files(carrier, (*rawfacts.SNAPSHOT_FILES, "/proc/uptime"))
    # Its seconds since the boot are those of the monotonic clock, short of time asleep.
    seconds = files.get("/proc/uptime", "0").split()[:1]
    return rawfacts.snapshot(int(float((seconds or ["0"])[0]) * 1e9), files)


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
