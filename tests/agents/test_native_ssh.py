"""Native programs on boards that are reached by ssh and lack TVM."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from native_world import compiled
from private_sshd import Sshd, running_sshd

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'lwprof[tvm]'")

from lwprof.agents import Agent
from lwprof.agents.native import NativeAgent, choose
from lwprof.agents.targets.ssh_carrier import SshCarrier
from lwprof.errors import DeviceTransient
from lwprof.profiler.session import scripts

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as made:
        yield made


def test_blocks_run_and_survive_a_lost_link(server: Sshd, tmp_path: Path) -> None:
    made, run = compiled(tmp_path, "x86_64")
    with server.target() as target, NativeAgent(SshCarrier(target)) as agent:
        agent.put_program(made.program)
        x = np.ones((1, 4, 8, 8), "float32")
        (output,) = agent.infer(made.program.sha256, {"x": x})
        assert output.shape == (1, 8, 8, 8)
        first = agent.run_block(scripts.end_to_end(run, 1e-4, []))
        worker = agent.start(made.program.sha256)
        server.kill_sessions()
        with pytest.raises(DeviceTransient):
            worker.ask({"do": "finish"}, 30)
        agent.reopen()
        second = agent.run_block(scripts.end_to_end(run, 1e-4, []))
        assert first.id != second.id and len(second.steps) == 3


def test_a_board_without_tvm_gets_the_native_agent_for_tvm_only(server: Sshd) -> None:
    with server.target() as target:  # whose Python is the system's, without TVM
        assert isinstance(choose(target, "tvm"), NativeAgent)
        assert type(choose(target, "onnxruntime")) is Agent
        assert type(choose(target)) is Agent
