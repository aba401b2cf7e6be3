"""Sessions over ssh under random faults: no block lost, duplicated or mixed, and no hang.

    python benchmarks/remote_faults.py [--quick] [--faults N] [--seed N] [--json FILE] [--log FILE]

With ``--log`` each session is written down as a line when it is over; a campaign that was
stopped goes on from there, and several may add to one log at the same time (each with a seed
of its own).

A real sshd runs in a network namespace. A host process measures a plan of blocks and notes
each in a ledger; meanwhile faults strike at random moments: the link is cut, the server is
killed or stopped, the agent, the job, a worker or the host itself is killed, the disk fills
up, the board restarts, the host's clock jumps. A host that ended is started again, as its
user would. Needs root, openssh-server and iproute2. The runtime is a double that sleeps:
these figures say nothing about times.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parent.parent / "tests" / "agents"
sys.path.insert(0, str(_TESTS))

from figures import arguments, save

_BLOCKS = 8
_FAULTS_PER_SESSION = 6
_SESSION_S = 300.0
_SILENCE_S = 2.0
_RESUME_S = 40.0
_RUN_S = 0.06


class World:
    """The server, its cable and its small disk; what can be done to them."""

    def __init__(self, server: Any, cable: Any, disk: Path, rng: random.Random) -> None:
        self.server = server
        self.cable = cable
        self.disk = disk
        self.rng = rng
        self.host: subprocess.Popen[str] | None = None
        self.kinds: dict[str, Callable[[], None]] = {
            "link cut": self.cut,
            "server mute": self.mute,
            "sshd killed": lambda: self.server.kill_sessions(),
            "agent killed": lambda: self.kill("serve"),
            "job killed": self.kill_job,
            "worker killed": lambda: self.kill("worker"),
            "host killed": self.kill_host,
            "disk full": self.fill,
            "restart": self.restart,
            "clock jump": self.jump,
        }

    def cut(self) -> None:
        self.cable.cut()
        time.sleep(self.rng.uniform(0.1, 2.5 * _SILENCE_S))
        self.cable.mend()

    def mute(self) -> None:
        self.server.signal_servers(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.1, 2.5 * _SILENCE_S))
        self.server.signal_servers(signal.SIGCONT)

    def agents(self, word: str) -> list[int]:
        """Processes of the agent's program, by their command word."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit():
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    ours = any(str(self.disk).encode() in part for part in words)
                    if ours and word.encode() in words:
                        found.append(int(entry.name))
        return found

    def kill(self, word: str) -> None:
        for pid in self.agents(word):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def kill_job(self) -> None:
        for job in (self.disk / "work" / "jobs").glob("*/pid"):
            with contextlib.suppress(OSError, ValueError):
                if not (job.parent / "result").exists():
                    os.kill(int(job.read_text().split()[0]), signal.SIGKILL)

    def kill_host(self) -> None:
        if self.host is not None:
            self.host.kill()

    def fill(self) -> None:
        filler = self.disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        time.sleep(self.rng.uniform(0.1, 1.5))
        filler.unlink(missing_ok=True)

    def restart(self) -> None:
        self.cable.cut()
        self.server.stop()
        self.kill_job()
        self.kill("serve")
        self.kill("worker")
        for job in (self.disk / "work" / "jobs").glob("*/job.json"):
            with contextlib.suppress(OSError, ValueError):
                data = {**json.loads(job.read_bytes()), "boot_id": "before"}
                job.write_text(json.dumps(data))
        time.sleep(self.rng.uniform(0.5, 3.0))
        self.cable.mend()
        self.server.start()

    def jump(self) -> None:
        if self.host is not None:
            with contextlib.suppress(OSError):
                self.host.send_signal(signal.SIGUSR1)


def host(given: dict[str, Any]) -> int:
    """The host process: measures what the ledger lacks. Returns its exit status."""
    from private_sshd import Sshd
    from small_models import load, script, timed

    from lwprof.agents import Agent
    from lwprof.errors import DeviceTransient, LwprofError

    real, shift = time.time, [0.0]
    time.time = lambda: real() + shift[0]  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, lambda *_: shift.__setitem__(0, random.uniform(-1e5, 1e5)))
    folder, ledger = Path(given["folder"]), Path(given["ledger"])
    server = Sshd(folder, given["port"], given["user"], folder / "home", address=given["address"])
    wanted = {f"{given['session']}-{number}": number for number in range(_BLOCKS)}

    def note(record: Any) -> None:
        lengths = [len(part) for part in record.steps[1].times_ns["plain"]]
        if record.id in wanted and record.id not in noted(ledger):
            with ledger.open("a") as file:
                file.write(json.dumps({"id": record.id, "lengths": lengths}) + "\n")
                file.flush()
                os.fsync(file.fileno())

    target = server.target(silence_s=_SILENCE_S, resume_s=_RESUME_S, **given["places"])
    print("started", flush=True)
    try:
        with target, Agent(target) as agent:
            for _, record in agent.leftovers():
                note(record)
            sha = agent.put(json.dumps({"sleep": _RUN_S}).encode())
            done = noted(ledger)
            left = {name: number for name, number in wanted.items() if name not in done}
            blocks = [script(load(sha), timed(["plain"], n=2 + number), block_id=name)
                      for name, number in left.items()]  # fmt: skip
            for block, then in zip(blocks, [*blocks[1:], None], strict=False):
                for attempt in range(5):
                    try:
                        note(agent.run_block(block, then=then))
                        break
                    except DeviceTransient:
                        if attempt == 4:
                            raise
                        if not agent.alive:
                            agent.reopen()
                        sha = agent.put(json.dumps({"sleep": _RUN_S}).encode())
    except LwprofError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def noted(ledger: Path) -> list[str]:
    """Blocks in the ledger."""
    if not ledger.exists():
        return []
    return [json.loads(line)["id"] for line in ledger.read_text().splitlines()]


def session(world: World, number: int, python: str) -> dict[str, Any]:
    """One plan, measured to its end under faults; what struck and what went wrong."""
    strike: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        given = {
            "folder": str(world.server.folder), "port": world.server.port,
            "user": world.server.user, "address": world.server.address,
            "ledger": str(ledger), "session": f"s{number}",
            "places": {"python": python, "workdir": str(world.disk / "work"),
                       "leases": str(world.disk / "leases")},
        }  # fmt: skip
        ends: list[str] = []
        deadline = time.monotonic() + _SESSION_S
        faults, starts = 0, 0
        while True:
            starts += 1
            world.host = subprocess.Popen(
                [sys.executable, __file__, "--host", json.dumps(given)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            while world.host.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    world.host.wait(world.rng.uniform(0.3, 3.0))
                if world.host.poll() is None and faults < _FAULTS_PER_SESSION:
                    kind = world.rng.choice(sorted(world.kinds))
                    world.kinds[kind]()
                    strike[kind] += 1
                    faults += 1
            hung = world.host.poll() is None
            if hung:
                world.host.kill()
            said = world.host.communicate()[0].strip().splitlines()
            if world.host.returncode == 0 or hung or starts > 20:
                break
            if world.host.returncode > 0:
                ends.append(said[-1][:200] if said else "nothing")
        text = ledger.read_text() if ledger.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
    expected = {f"s{number}-{block}": [2 + block] * 2 for block in range(_BLOCKS)}
    names = [line["id"] for line in lines]
    return {
        "strike": dict(strike), "hung": hung, "starts": starts, "ends": ends,
        "lost": len(set(expected) - set(names)),
        "duplicated": len(names) - len(set(names)),
        "mixed": sum(line["lengths"] != expected.get(line["id"]) for line in lines),
        "tracebacks": sum(not end.startswith(("Device", "Host", "Usage")) for end in ends),
    }  # fmt: skip


def logged(path: str | None) -> list[dict[str, Any]]:
    """The sessions that a log holds."""
    if not path or not Path(path).exists():
        return []
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def append(path: str, outcome: dict[str, Any]) -> None:
    """Writes one session down, whole: several campaigns may share a log."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(json.dumps(outcome).encode() + b"\n")


def totals(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """The campaign's figures so far."""
    strike: Counter[str] = Counter()
    for outcome in outcomes:
        strike.update(outcome["strike"])
    found: dict[str, Any] = {"faults": sum(strike.values()), "sessions": len(outcomes)}
    for name in ("lost", "duplicated", "mixed", "hung", "tracebacks", "starts"):
        found[name] = sum(outcome[name] for outcome in outcomes)
    found["ended with an error and started again"] = sum(len(o["ends"]) for o in outcomes)
    found["errors"] = dict(Counter(end.split(": ", 1)[0] for o in outcomes for end in o["ends"]))
    found["by kind"] = dict(sorted(strike.items()))
    return found


def main() -> None:
    """Runs the campaign and prints its figures."""
    if sys.argv[1:2] == ["--host"]:
        sys.exit(host(json.loads(sys.argv[2])))
    chosen = arguments(__doc__ or "", faults=1000, seed=1, log=None)
    from network_faults import distant_sshd
    from strange_runtime import interpreter

    wanted = 30 if chosen.quick else chosen.faults
    outcomes = logged(chosen.log)
    with tempfile.TemporaryDirectory() as folder, distant_sshd() as (server, cable):
        python = interpreter(Path(folder) / "env")
        disk = Path(folder) / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], check=True)
        world = World(server, cable, disk, random.Random(chosen.seed + 1000 * len(outcomes)))
        try:
            while totals(outcomes)["faults"] < wanted:
                outcome = session(world, len(outcomes), python)
                if chosen.log:
                    append(chosen.log, outcome)
                outcomes = logged(chosen.log) if chosen.log else [*outcomes, outcome]
                found = totals(outcomes)
                print(f"{found['faults']} faults, {outcome}", flush=True)
                save(chosen.json, found)
        finally:
            world.kill_job()
            world.kill("serve")
            subprocess.run(["umount", "-l", str(disk)], check=False)
    for name, value in totals(outcomes).items():
        print(f"{name:40} {value}")
    print("bars: lost, duplicated, mixed, hung and tracebacks 0 in 1,000 faults")


if __name__ == "__main__":
    main()
