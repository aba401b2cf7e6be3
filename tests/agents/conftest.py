"""A local agent with a work folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lwprof.agents import Agent, LocalTarget


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="session")
def target(workdir: Path) -> Iterator[LocalTarget]:
    with LocalTarget(workdir=workdir) as target:
        yield target


@pytest.fixture(scope="session")
def opened(target: LocalTarget) -> Iterator[Agent]:
    with Agent(target) as agent:
        yield agent


@pytest.fixture
def agent(opened: Agent) -> Agent:
    """One agent for all tests, which must survive them, or be opened again."""
    opened.open()
    return opened
