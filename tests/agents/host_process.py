"""A host that measures one block, starts a long one, and waits to be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from private_sshd import Sshd
from small_models import load, script, timed

from lwprof.agents import Agent


def main() -> None:
    given = json.loads(sys.argv[1])
    folder = Path(given["folder"])
    server = Sshd(folder, given["port"], given["user"], folder / "home")
    places = {key: given[key] for key in ("python", "workdir", "leases")}
    with server.target(**places) as target, Agent(target) as agent:
        quick = agent.put(json.dumps({"sleep": 0.001}).encode())
        slow = agent.put(json.dumps({"sleep": 30}).encode())
        agent.run_block(script(load(quick), timed(["plain"]), block_id="first"))
        # Not acknowledged by the next start: that one carries the news, so it is kept back.
        agent._detached._got.clear()
        print("first done", flush=True)
        agent.run_block(script(load(slow), timed(["plain"]), block_id="second"))


if __name__ == "__main__":
    main()
