"""The program's command line: ``serve --workdir DIR``, ``worker`` or ``facts``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import List, Optional


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one of the commands; returns the exit status."""
    parser = argparse.ArgumentParser(prog="lwprof-agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve", help="answer a host on standard input and output")
    server.add_argument("--workdir", required=True, help="folder for models and scratch files")
    server.add_argument("--silence", type=float, default=None, help="seconds of silence to end")
    worker_parser = commands.add_parser("worker", help="execute steps (started by serve)")
    worker_parser.add_argument("--parent", type=int, required=True, help="process to die with")
    commands.add_parser("facts", help="print what this device is, as JSON")
    chosen = parser.parse_args(arguments)
    if chosen.command == "worker":
        from . import worker

        return worker.main(chosen.parent)
    if chosen.command == "serve":
        from . import serve

        return serve.serve(chosen.workdir, chosen.silence or serve.DEFAULT_SILENCE_S)
    from . import facts, runtimes

    found = facts.collect()
    found["runtimes"] = runtimes.installed()
    print(json.dumps(found, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
