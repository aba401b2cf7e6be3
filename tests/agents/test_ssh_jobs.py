"""Blocks over ssh survive what happens to the link, and one session measures at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from private_sshd import Sshd, running_sshd
from small_models import load, script, timed
from strange_runtime import interpreter

from lwprof.agents import Agent
from lwprof.agents.targets.ssh import SshTarget
from lwprof.errors import DeviceError, DeviceTransient, ModelError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return interpreter(tmp_path_factory.mktemp("strange") / "env")


@pytest.fixture
def agent(server: Sshd, python: str, tmp_path: Path) -> Iterator[Agent]:
    places = {"workdir": str(tmp_path / "work"), "leases": str(tmp_path / "leases")}
    with server.target(python=python, **places) as target, Agent(target) as agent:
        yield agent


def model(agent: Agent, **what: Any) -> str:
    return agent.put(json.dumps(what).encode())


def slow_block(agent: Agent, seconds: float, block_id: str) -> dict[str, Any]:
    sha = model(agent, sleep=seconds)
    return script(load(sha), timed(["plain"], n=2, slices=2), block_id=block_id)


def jobs(agent: Agent) -> list[Path]:
    assert isinstance(agent.target, SshTarget)
    folder = Path(agent.target.survey().workdir, "jobs")
    return sorted(folder.iterdir()) if folder.exists() else []


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def running(agent: Agent) -> bool:
    return any((job / "pid").exists() and not (job / "result").exists() for job in jobs(agent)
               if not job.name.endswith(".new"))  # fmt: skip


def test_a_finished_block_is_kept_until_the_next_one_is_asked_for(agent: Agent) -> None:
    first = agent.run_block(slow_block(agent, 0.001, "one"))
    assert first.id == "one" and len(jobs(agent)) == 1
    assert agent.run_block(slow_block(agent, 0.001, "two")).id == "two"
    assert len(jobs(agent)) == 1


def test_failures_are_told_apart_as_without_a_link(agent: Agent) -> None:
    with pytest.raises(DeviceTransient, match="signal 9"):
        agent.run_block(script(load(model(agent, run="kill")), timed(["plain"]), block_id="k"))
    with pytest.raises(ModelError, match="line one"):
        agent.run_block(script(load(model(agent, run="raise")), timed(["plain"]), block_id="r"))
    # The same block again is done again: a failure is no result to be kept.
    assert agent.run_block(slow_block(agent, 0.001, "k")).id == "k"


def test_a_killed_login_costs_no_block(agent: Agent, server: Sshd) -> None:
    block = slow_block(agent, 0.4, "cut")
    thread, outcome = in_thread(lambda: agent.run_block(block))
    eventually(lambda: running(agent))
    before = jobs(agent)
    server.kill_sessions()
    thread.join(60)
    assert outcome and outcome[0].id == "cut", outcome
    # It was the same work, not a repetition.
    assert jobs(agent) == before


def test_a_killed_job_is_lost_and_can_be_done_again(agent: Agent) -> None:
    block = slow_block(agent, 0.5, "again")
    thread, outcome = in_thread(lambda: agent.run_block(block))
    eventually(lambda: running(agent))
    os.kill(int((jobs(agent)[0] / "pid").read_text().split()[0]), signal.SIGKILL)
    thread.join(60)
    assert isinstance(outcome[0], DeviceTransient) and "killed" in str(outcome[0])
    assert agent.alive
    assert agent.run_block(slow_block(agent, 0.001, "again")).id == "again"


def test_a_restart_of_the_device_is_told_from_a_running_job(agent: Agent, server: Sshd) -> None:
    block = slow_block(agent, 0.3, "boot")
    thread, outcome = in_thread(lambda: agent.run_block(block))
    eventually(lambda: running(agent))
    # What a restart leaves: no process, and another boot id than the one written down.
    job = jobs(agent)[0]
    pid = int((job / "pid").read_text().split()[0])
    (job / "job.json").write_text(json.dumps({"request": {}, "boot_id": "another"}))
    os.kill(pid, signal.SIGKILL)
    server.kill_sessions()
    thread.join(60)
    assert isinstance(outcome[0], DeviceTransient) and "restarted" in str(outcome[0])


def test_a_second_session_is_refused_and_told_who_holds_the_device(
    agent: Agent, server: Sshd, python: str, tmp_path: Path
) -> None:
    places = {"workdir": str(tmp_path / "other"), "leases": str(tmp_path / "leases")}
    with server.target(python=python, **places) as second:
        with pytest.raises(DeviceError, match=f"another session.*process {os.getpid()}") as caught:
            Agent(second).open()
        assert not caught.value.transient
        agent.close()
        with Agent(second) as other:
            other.ping()


def test_a_killed_host_frees_the_device_and_its_finished_block_is_found(
    server: Sshd, python: str, tmp_path: Path
) -> None:
    places = {"workdir": str(tmp_path / "work"), "leases": str(tmp_path / "leases")}
    given = {"python": python, **places, "port": server.port, "user": server.user,
             "folder": str(server.folder)}  # fmt: skip
    host = subprocess.Popen(
        [sys.executable, str(HERE / "host_process.py"), json.dumps(given)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert host.stdout is not None
    with host.stdout:
        assert host.stdout.readline() == "first done\n"
    folder = tmp_path / "work" / "jobs"
    eventually(lambda: any(not (job / "result").exists() for job in folder.iterdir()))
    host.kill()
    host.wait()
    with server.target(python=python, **places) as target:
        target.resume_s = 5.0
        with Agent(target) as agent:
            found = agent.leftovers()
            # The second block was running: it ended with its host, the first was finished.
            assert [record.id for _, record in found] == ["first"]
            assert found[0][0]["id"] == "first"
            assert agent.run_block(slow_block(agent, 0.001, "third")).id == "third"
            assert agent.leftovers() == []


def test_closing_ends_what_runs_on_the_device(agent: Agent) -> None:
    block = slow_block(agent, 5.0, "long")
    thread, outcome = in_thread(lambda: agent.run_block(block))
    eventually(lambda: running(agent))
    pid = int((jobs(agent)[0] / "pid").read_text().split()[0])
    agent.close()
    eventually(lambda: not Path(f"/proc/{pid}").exists() or " Z " in
               Path(f"/proc/{pid}/stat").read_text())  # fmt: skip
    thread.join(60)
    assert isinstance(outcome[0], DeviceTransient)
