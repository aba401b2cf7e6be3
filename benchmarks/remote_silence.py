"""How soon a silent board is noticed, in every operation. Bar: ≤ 5 s with the defaults.

The server is stopped (its kernel goes on acknowledging) or the cable of its namespace is
pulled; then one operation after the other is timed from the fault to its error. Needs root,
openssh-server and iproute2.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "agents"))

from figures import arguments, save


def main() -> None:
    """Times every operation under both faults."""
    chosen = arguments(__doc__ or "", silence=5.0)
    import test_ssh_silence as operations
    from network_faults import distant_sshd

    from lwprof.agents import resuming
    from lwprof.errors import DeviceTransient

    done: dict[str, float] = {}
    with distant_sshd() as (server, cable):
        for fault_name in ("stopped", "cut"):
            for operation in (operations.wait_for_a_command, operations.push, operations.pull,
                              operations.start_a_command, operations.ask_the_agent,
                              operations.log_in):  # fmt: skip
                struck: list[float] = []

                def fault(name: str = fault_name, struck: list[float] = struck) -> None:
                    struck.append(time.monotonic())
                    if name == "cut":
                        cable.cut()
                    else:
                        server.signal_servers(signal.SIGSTOP)

                with server.target(silence_s=chosen.silence, resume_s=0.0) as target:
                    resuming.insist(target.survey, 20.0)  # the cable was just mended
                    ended = _ended(operation, target, fault, DeviceTransient)
                    done[f"{operation.__name__}, {fault_name}"] = ended - struck[0]
                    server.signal_servers(signal.SIGCONT)
                    cable.mend()
                print(f"{operation.__name__:20} {fault_name:8} {ended - struck[0]:6.2f} s")
    worst = max(done.values())
    print(f"worst {worst:.2f} s; bar 5 s")
    save(chosen.json, {"seconds": done, "worst_s": worst, "bar_s": 5.0})


def _ended(operation: Any, target: Any, fault: Any, kind: type[Exception]) -> float:
    try:
        operation(target, fault)
    except kind:
        return time.monotonic()
    raise AssertionError("the silence was not noticed")


if __name__ == "__main__":
    main()
