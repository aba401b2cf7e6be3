"""A peer that goes silent, or a cut link, ends every operation with one clear error."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from network_faults import Cable, distant_sshd
from private_sshd import Sshd, running_sshd

from lwprof.agents import Agent
from lwprof.agents.targets.ssh import SshTarget
from lwprof.errors import DeviceTransient

Fault = Callable[[], None]
_SILENCE_S = 1.5
_BIG = bytes(range(256)) * 4096 * 96


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture(scope="module")
def distant() -> Iterator[tuple[Sshd, Cable]]:
    with distant_sshd() as both:
        yield both


@pytest.fixture(params=["stopped", "cut"])
def silenced(request: pytest.FixtureRequest) -> Iterator[tuple[SshTarget, Fault]]:
    """A target, and what silences its device."""
    if request.param == "stopped":
        server: Sshd = request.getfixturevalue("server")
        fault: Fault = lambda: server.signal_servers(signal.SIGSTOP)
        mend: Fault = lambda: server.signal_servers(signal.SIGCONT)
    else:
        server, cable = request.getfixturevalue("distant")
        fault, mend = cable.cut, cable.mend
    try:
        with server.target(silence_s=_SILENCE_S, resume_s=0.0) as target:
            yield target, fault
    finally:
        mend()


def wait_for_a_command(target: SshTarget, fault: Fault) -> None:
    threading.Timer(0.3, fault).start()
    target.link.run("sleep 100", timeout_s=100)


def push(target: SshTarget, fault: Fault) -> None:
    threading.Timer(0.05, fault).start()
    for number in range(100):
        target.push(_BIG, hashlib.sha256(str(number).encode()).hexdigest())


def pull(target: SshTarget, fault: Fault) -> None:
    sha = hashlib.sha256(b"big").hexdigest()
    target.push(_BIG, sha)
    threading.Timer(0.05, fault).start()
    for _ in range(100):
        target.pull(sha, len(_BIG))


def start_a_command(target: SshTarget, fault: Fault) -> None:
    fault()
    target.link.run("true", timeout_s=100)


def ask_the_agent(target: SshTarget, fault: Fault) -> None:
    with Agent(target) as agent:
        agent.ping()
        fault()
        agent.facts()


def log_in(target: SshTarget, fault: Fault) -> None:
    target.link.close()
    fault()
    target.link.way()


@pytest.mark.parametrize(
    "operation", [wait_for_a_command, push, pull, start_a_command, ask_the_agent, log_in]
)
def test_silence_ends_every_operation(
    operation: Callable[[SshTarget, Fault], None], silenced: tuple[SshTarget, Fault]
) -> None:
    target, fault = silenced
    target.survey()
    start = time.monotonic()
    with pytest.raises(DeviceTransient, match="silent|answer|says nothing|lost"):
        operation(target, fault)
    # paramiko alone would still wait after minutes.
    assert time.monotonic() - start < 60


def test_a_short_pause_of_the_link_is_survived(distant: tuple[Sshd, Cable]) -> None:
    server, cable = distant
    with server.target(silence_s=20.0) as target:
        target.survey()
        threading.Timer(0.1, cable.cut).start()
        threading.Timer(1.0, cable.mend).start()
        sha = hashlib.sha256(_BIG).hexdigest()
        for _ in range(3):
            target.push(_BIG, sha)
        assert target.pull(sha, len(_BIG)) == _BIG
