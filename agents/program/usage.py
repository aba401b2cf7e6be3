"""What a process used: memory, processor time, waiting, switches."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

_PAGE_KB = 1024


def cpu_ns(pid: int) -> Optional[int]:
    """Processor time of a process with all its threads, ns; the slice now running included."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except (OSError, OverflowError):
        return None


def run_delay_ns(pid: int) -> Optional[int]:
    """Time the threads of a process were ready to run but waited for a processor, ns."""
    total = None
    try:
        threads = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return None
    for thread in threads:
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, thread), "rb") as file:
                total = (total or 0) + int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total


def memory(pid: Any = "self") -> Dict[str, int]:
    """Resident memory in bytes: ``rss_bytes``, ``rss_peak_bytes``, ``rss_anon_bytes``,
    ``swap_bytes``; and context switches. What the kernel does not tell is absent."""
    wanted = {
        "VmRSS": ("rss_bytes", _PAGE_KB),
        "VmHWM": ("rss_peak_bytes", _PAGE_KB),
        "RssAnon": ("rss_anon_bytes", _PAGE_KB),
        "VmSwap": ("swap_bytes", _PAGE_KB),
        "voluntary_ctxt_switches": ("voluntary_switches", 1),
        "nonvoluntary_ctxt_switches": ("nonvoluntary_switches", 1),
    }
    found: Dict[str, int] = {}
    try:
        with open("/proc/%s/status" % pid, encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, rest = line.partition(":")
                if key in wanted:
                    name, unit = wanted[key]
                    found[name] = int(rest.split()[0]) * unit
    except (OSError, ValueError, IndexError):
        pass
    return found


def reset_peak() -> bool:
    """Lets the process's peak of resident memory start again from now; False if refused."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return True
    except OSError:
        return False
