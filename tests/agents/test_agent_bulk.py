"""Many files and models in one request, and blocks that the device begins by itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_sshd import Sshd, running_sshd
from small_models import load, script, timed
from strange_runtime import interpreter

from lwprof.agents import Agent, bulk
from lwprof.agents.messages import Blob, Output, PreparedAll, PreparedItem, PreparedReply
from lwprof.errors import DeviceError, DeviceTransient


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture
def agent(server: Sshd, tmp_path: Path) -> Iterator[Agent]:
    places = {"workdir": str(tmp_path / "work"), "leases": str(tmp_path / "leases")}
    python = interpreter(tmp_path / "env")
    with server.target(python=python, **places) as target, Agent(target) as agent:
        yield agent


def test_many_files_travel_as_one_and_are_whole(agent: Agent, tmp_path: Path) -> None:
    contents = [b"%d" % number * 1000 for number in range(20)]
    found = agent.put_all([*contents, contents[0]])
    blobs = tmp_path / "work" / "blobs"
    assert [(blobs / sha).read_bytes() for sha in found] == [*contents, contents[0]]
    assert len(list(blobs.iterdir())) == len(contents)


def test_a_queued_block_begins_before_it_is_asked_for(agent: Agent) -> None:
    sha = agent.put(b'{"sleep": 0.05}')
    first, second = (
        script(load(sha), timed(["plain"], n=n, slices=2), block_id=f"b{n}") for n in (2, 3)
    )
    one = agent.run_block(first, then=second)
    time.sleep(1.5)  # the device works while nobody asks
    two = agent.run_block(second)
    gap_s = (two.started_monotonic_ns - one.started_monotonic_ns) * 1e-9 - one.duration_s
    assert 0 <= gap_s < 1.4  # after the first one's end, and before the question
    assert [len(part) for part in two.steps[1].times_ns["plain"]] == [3, 3]


def test_a_pack_that_was_damaged_is_noticed() -> None:
    def item(data: bytes) -> PreparedItem:
        blob = Blob(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        outputs = [Output(name="y", dtype="float32", shape=[1])]
        return PreparedItem(ok=PreparedReply(["CPU"], outputs, optimised=blob))

    pack = Blob(sha256="0" * 64, size_bytes=5)
    reply = PreparedAll(items=[item(b"ab"), item(b"cde")], pack=pack)
    graphs = [
        found[1] for found in bulk.unpacked(reply, b"abcde", "pi") if isinstance(found, tuple)
    ]
    assert graphs == [b"ab", b"cde"]
    with pytest.raises(DeviceTransient, match="damaged"):
        list(bulk.unpacked(reply, b"abcdX", "pi"))
    with pytest.raises(DeviceError, match="more than"):
        list(bulk.unpacked(reply, b"abcdef", "pi"))
