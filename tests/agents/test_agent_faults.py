"""Everything that can go wrong between the host and a timed inference ends in one clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_models import chain, feed, load, script, timed
from strange_runtime import interpreter

from lwprof.agents import Agent, LocalTarget
from lwprof.agents.targets import LocalConnection
from lwprof.errors import (
    DeviceError,
    DeviceTransient,
    HostError,
    LwprofError,
    ModelError,
    UsageError,
)


@pytest.fixture(scope="module")
def strange_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return interpreter(tmp_path_factory.mktemp("strange") / "env")


@pytest.fixture(scope="module")
def shared(strange_python: str, workdir: Path) -> Iterator[Agent]:
    with LocalTarget(workdir=workdir, python=strange_python) as target, Agent(target) as agent:
        yield agent


@pytest.fixture
def strange(shared: Agent) -> Agent:
    """One agent for all tests, which must survive them, or be opened again."""
    shared.open()
    return shared


def behaviour(**what: Any) -> bytes:
    return json.dumps(what).encode()


def children(pid: int) -> list[int]:
    """Processes whose parent is ``pid``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def eventually(condition: Any, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def agent_pid(agent: Agent) -> int:
    connection = agent._connection
    assert isinstance(connection, LocalConnection)
    return connection.pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_noise_of_a_runtime_does_not_reach_the_frames(strange: Agent) -> None:
    noisy = strange.put(behaviour(load="noise", run="noise"))
    record = strange.run_block(script(load(noisy), timed(["plain"])))
    assert len(record.steps[1].times_ns["plain"]) == 2
    strange.ping()


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ({"run": "kill"}, DeviceTransient, "signal 9"),
        ({"load": "kill"}, DeviceTransient, "signal 9"),
        ({"run": "abort"}, DeviceError, "SIGABRT"),
        ({"run": "exit"}, DeviceError, "status 3"),
        ({"load": "memory"}, DeviceError, "memory"),
        ({"run": "memory"}, DeviceError, "memory"),
        ({"load": "raise"}, ModelError, "line one line"),
        ({"run": "raise"}, ModelError, "line one line"),
        ({"run": "close"}, DeviceError, "host"),
        ({"providers": ["CPUExecutionProvider", "SlowExecutionProvider"]}, None, ""),
    ],
)
def test_misbehaving_runtimes(
    strange: Agent, what: dict[str, Any], kind: type[LwprofError] | None, words: str
) -> None:
    sha = strange.put(behaviour(**what))
    if kind is None:
        strange.run_block(script(load(sha), timed(["plain"])))
        return
    with pytest.raises(kind) as caught:
        strange.run_block(script(load(sha), timed(["plain"])))
    text = str(caught.value)
    assert words in text and "\x1b" not in text and "\n" not in text and len(text) < 3000
    # A crash of the runtime's own comes again, so it is not to be retried.
    assert caught.value.transient is (kind is DeviceTransient)
    good = strange.put(behaviour())
    assert strange.run_block(script(load(good), timed(["plain"]))).id == "b"


def test_failure_in_the_middle_of_timing_returns_nothing_of_the_block(strange: Agent) -> None:
    sha = strange.put(behaviour(run="kill", after=5))
    with pytest.raises(DeviceTransient, match="time"):
        strange.run_block(script(load(sha), timed(["plain"]), timed(["plain"])))


def test_hanging_inference_is_ended_at_the_deadline(strange: Agent) -> None:
    sha = strange.put(behaviour(run="hang", after=3))
    start = time.monotonic()
    with pytest.raises(DeviceTransient, match="did not finish"):
        strange.run_block(script(load(sha), timed(["plain"])), deadline_s=3.0)
    assert time.monotonic() - start < 60.0
    assert eventually(lambda: not children(agent_pid(strange)))
    strange.ping()


def test_hanging_load_is_ended_at_the_deadline(strange: Agent) -> None:
    sha = strange.put(behaviour(load="hang"))
    with pytest.raises(DeviceTransient, match="did not finish"):
        strange.prepare(sha, {"threads": 1}, [feed()], deadline_s=2.0)


def test_fallback_of_the_whole_session_is_refused(strange: Agent) -> None:
    sha = strange.put(behaviour(providers=["CPUExecutionProvider"]))
    with pytest.raises(UsageError, match="fell back to CPU"):
        strange.run_block(script(load(sha, provider="Fast")))
    record = strange.run_block(script(load(sha, provider="Fast", allow_fallback=True)))
    assert record.steps[0].providers == ["CPU"]


@pytest.mark.parametrize(
    "profile",
    ["[]", "[\n{damaged", '[\n{"cat":"Session","name":"model_run","ts":0,"dur":1,"args":{}}\n]'],
)
def test_profile_with_missing_runs_is_refused(strange: Agent, profile: str) -> None:
    sha = strange.put(behaviour(profile=profile))
    steps = [load(sha, profile=True), timed(["plain"]), {"do": "profile", "session": "plain"}]
    with pytest.raises(DeviceError, match="fewer iterations"):
        strange.run_block(script(*steps))


def test_worker_killed_from_outside_is_transient_and_the_agent_lives(strange: Agent) -> None:
    sha = strange.put(behaviour(sleep=0.05))
    pid = agent_pid(strange)

    def kill() -> None:
        assert eventually(lambda: children(pid))
        time.sleep(0.5)
        for child in children(pid):
            os.kill(child, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(DeviceTransient, match="signal 9"):
        strange.run_block(script(load(sha), timed(["plain"], slices=1, n=10000)))
    thread.join()
    assert strange.alive
    strange.ping()


def test_killed_agent_is_transient_its_workers_die_and_it_can_be_reopened(strange: Agent) -> None:
    sha = strange.put(behaviour(sleep=0.05))
    pid = agent_pid(strange)
    workers: list[int] = []

    def kill() -> None:
        assert eventually(lambda: children(pid))
        time.sleep(0.5)
        workers.extend(children(pid))
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(DeviceTransient, match="lost"):
        strange.run_block(script(load(sha), timed(["plain"], slices=1, n=10000)))
    thread.join()
    assert workers and eventually(lambda: not any(map(alive, workers)))
    assert not strange.alive
    with pytest.raises(DeviceTransient):
        strange.ping()
    strange.reopen()
    assert strange.run_block(script(load(strange.put(behaviour())), timed(["plain"])))


def test_agent_and_workers_die_with_a_killed_host(strange_python: str, tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from lwprof.agents import Agent, LocalTarget\n"
        f"target = LocalTarget(workdir=Path({str(tmp_path)!r}), python={strange_python!r})\n"
        "agent = Agent(target); agent.open()\n"
        "sha = agent.put(json.dumps({'sleep': 0.05}).encode())\n"
        "print(agent._connection.pid, flush=True)\n"
        f"agent.run_block(json.loads(sys.argv[1].replace('SHA', sha)))\n"
    )
    steps = script(load("SHA"), timed(["plain"], slices=1, n=100000))
    host = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(steps)], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    with host, host.stdout:
        pid = int(host.stdout.readline())
        assert eventually(lambda: children(pid))
        time.sleep(0.3)
        family = [pid, *children(pid)]
        host.kill()
    assert len(family) == 2
    assert eventually(lambda: not any(map(alive, family)))


def test_interrupted_question_does_not_confuse_the_next(
    strange: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = strange._connection
    assert connection is not None

    def interrupt(timeout_s: float) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        strange.ping()
    assert not strange.alive
    strange.reopen()
    strange.ping()


def test_nothing_is_left_in_the_work_folder(strange_python: str, tmp_path: Path) -> None:
    with LocalTarget(workdir=tmp_path, python=strange_python) as target, Agent(target) as agent:
        sha = agent.put(behaviour(profile="[]"))
        with pytest.raises(DeviceError):
            agent.run_block(
                script(
                    load(sha, profile=True), timed(["plain"]), {"do": "profile", "session": "plain"}
                )
            )
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name.partition("-")[0] for name in left] == ["blobs", "lwprof", "program"]
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [sha]


def test_leftovers_of_a_killed_agent_are_removed_but_not_those_of_a_living_one(
    strange_python: str, tmp_path: Path
) -> None:
    with LocalTarget(workdir=tmp_path, python=strange_python) as target:
        first, second = Agent(target), Agent(target)
        first.open()
        second.open()
        first.ping()
        second.ping()
        os.kill(agent_pid(first), signal.SIGKILL)
        assert eventually(lambda: not alive(agent_pid(first)))
        folders = list(tmp_path.glob("run-*"))
        assert len(folders) == 2
        for folder in folders:
            os.utime(folder, (time.time() - 3600,) * 2)
        third = Agent(target)
        third.open()
        third.ping()
        left = {path.name for path in tmp_path.glob("run-*")}
        assert len(left & {folder.name for folder in folders}) == 1
        second.ping()


@pytest.mark.parametrize(
    "change",
    [
        {"steps": [{"do": "burn"}]},
        {"steps": [{"do": "time", "worker": 3, "sessions": ["plain"]}]},
        {"steps": [{"do": "time", "sessions": ["absent"], "n": 1}]},
        {"steps": [{"do": "time", "sessions": [], "n": 1}]},
        {"steps": [{"do": "load", "session": "s", "model": "../../etc/passwd", "options": {}}]},
        {"workers": [{"affinity": [4095]}], "steps": []},
        {"workers": [{"affinity": [-1]}], "steps": []},
        {"workers": [{"nice": "low"}], "steps": []},
        {"workers": [{"env": {"A": 1}}], "steps": []},
        {"workers": [{}] * 99, "steps": []},
    ],
)
def test_malformed_scripts_are_the_hosts_fault(strange: Agent, change: dict[str, Any]) -> None:
    with pytest.raises(HostError):
        strange.run_block({"id": "x", "workers": [{}], "steps": [], **change})
    strange.ping()


def test_too_many_iterations_are_refused_before_they_run(strange: Agent) -> None:
    sha = strange.put(behaviour(sleep=1.0))
    with pytest.raises(HostError, match="iterations"):
        strange.run_block(script(load(sha), timed(["plain"], slices=1000, n=100000)))


def test_request_that_cannot_be_sent_is_refused_here(agent: Agent) -> None:
    with pytest.raises(HostError):
        agent.run_block({"id": "x", "workers": [], "steps": [], "note": float("nan")})
    agent.ping()


def test_real_runtime_refuses_what_is_no_model(agent: Agent) -> None:
    sha = agent.put(b"not a model")
    with pytest.raises(ModelError) as caught:
        agent.prepare(sha, {"threads": 1}, None)
    assert sha not in str(caught.value) and "/" not in str(caught.value).partition(":")[2]
    truncated = agent.put(chain()[:-20])
    with pytest.raises(ModelError):
        agent.run_block(script(load(truncated)))
