"""The ssh target keeps the contract that every target keeps, for root, users and jump hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from private_sshd import Sshd, ordinary_user, running_sshd

from lwprof.agents import Agent
from lwprof.agents.targets import conformance


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Sshd]:
    with running_sshd(user=ordinary_user()) as server:
        yield server


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Callable[[conformance.Make], None], server: Sshd) -> None:
    check(server.target)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conformance_as_an_ordinary_user(
    check: Callable[[conformance.Make], None], ordinary: Sshd
) -> None:
    check(ordinary.target)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conformance_through_a_jump_host(
    check: Callable[[conformance.Make], None], server: Sshd, ordinary: Sshd
) -> None:
    server.known_hosts.write_text(server.known_hosts.read_text())
    both = server.folder / "both_known_hosts"
    both.write_text(server.known_hosts.read_text() + ordinary.known_hosts.read_text())
    keys = server.folder / "authorized_keys"
    public = (ordinary.folder / "client_ed25519.pub").read_text()
    if public not in keys.read_text():
        keys.write_text(keys.read_text() + public)
    jump = f"{server.user}@127.0.0.1:{server.port}"
    check(lambda: ordinary.target(jump=jump, known_hosts=both))


def test_facts_are_those_of_the_other_end(ordinary: Sshd) -> None:
    with ordinary.target() as target, Agent(target) as agent:
        assert agent.facts().os
        assert agent.ping() < 5.0
