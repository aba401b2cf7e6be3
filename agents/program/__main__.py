"""The program's command line: ``serve --workdir DIR [--silence SECONDS]``, ``worker --parent
PID`` (started by serve) or ``facts``."""

from __future__ import annotations

import sys
from typing import List, Optional


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one of the commands; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) == 3 and given[:2] == ["worker", "--parent"] and given[2].isdigit():
        # Before anything slow is imported: workers start by the thousand.
        from . import worker

        return worker.main(int(given[2]))
    return _other_commands(given)


def _other_commands(given: List[str]) -> int:
    import argparse
    import json

    parser = argparse.ArgumentParser(prog="lwprof-agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve", help="answer a host on standard input and output")
    server.add_argument("--workdir", required=True, help="folder for models and scratch files")
    server.add_argument("--silence", type=float, default=None, help="seconds of silence to end")
    server.add_argument("--session", default=None, help="hold the device for this session")
    server.add_argument("--holder", default="{}", help="who that is, as JSON")
    server.add_argument("--leases", default="/tmp/lwprof-leases", help="folder of the lease")
    server.add_argument("--supersede", action="append", default=[], help="sessions that are dead")
    commands.add_parser("facts", help="print what this device is, as JSON")
    chosen = parser.parse_args(given)
    if chosen.command == "serve":
        from . import leases, serve

        held = None
        if chosen.session is not None:
            held = leases.Leases(chosen.leases, chosen.session, chosen.holder)
            for dead in chosen.supersede:
                held.end(dead)
        return serve.serve(chosen.workdir, chosen.silence or serve.DEFAULT_SILENCE_S, held)
    from . import facts, runtimes

    found = facts.collect()
    found["runtimes"] = runtimes.installed()
    print(json.dumps(found, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
