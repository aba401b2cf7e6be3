"""Native programs carried and run by a real adb client, on a stand-in for a phone."""

from __future__ import annotations

import random
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import phones
import pytest
from adbd_double import Phone
from native_world import QEMU, compiled

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'lwprof[tvm]'")

from lwprof.agents.native import NativeAgent, choose
from lwprof.agents.targets.adb_client import AdbClient
from lwprof.errors import DeviceTransient
from lwprof.profiler.session import scripts

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
_MACHINES = {183: QEMU["aarch64"], 40: QEMU["armv7l"]}


@pytest.fixture(scope="module", params=sorted(phones.CLIENTS))
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AdbClient]:
    with phones.server(request.param, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Phone]:
    made = Phone(tmp_path / "phone", emulator={k: v for k, v in _MACHINES.items() if v})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def test_an_arm_program_runs_on_the_phone(client: AdbClient, phone: Phone, cache: Path) -> None:
    pytest.importorskip("ziglang", reason="the cross compiler is missing: pip install ziglang")
    if QEMU["aarch64"] is None:
        pytest.skip("no emulator: apt-get install qemu-user-static")
    made, run = compiled(cache, "aarch64")
    with (
        phones.target(client, phone, real_paths=True) as target,
        NativeAgent(target, machine="aarch64") as agent,
    ):
        agent.put_program(made.program)
        record = agent.run_block(scripts.end_to_end(run, 0.05, []))
        assert len(record.steps[2].times_ns["plain"][0]) == scripts.iterations(0.05)
        x = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype("float32")
        (output,) = agent.infer(made.program.sha256, {"x": x})
        assert output.shape == (1, 8, 8, 8) and output.min() >= 0 < output.max()
        assert agent.facts().environment == "synthetic"
        left = {f.name for f in (phone.root / "data/local/tmp/lwprof/blobs").iterdir()}
        assert not any(name.startswith("outputs-") or name.endswith(".part") for name in left)
        target.clean()
        assert not (phone.root / "data/local/tmp/lwprof").exists()


def test_a_cut_link_costs_the_block_and_no_more(
    client: AdbClient, phone: Phone, cache: Path
) -> None:
    made, run = compiled(cache, "x86_64")
    with phones.target(client, phone, real_paths=True) as target, NativeAgent(target) as agent:
        agent.put_program(made.program)
        script = scripts.end_to_end(run, 1e-4, [])
        done = agent.run_block(script)
        worker = agent.start(made.program.sha256)
        phone.drop()
        with pytest.raises(DeviceTransient):
            worker.ask({"do": "finish"}, 30)
        phones.until_listed(client, phone.serial)
        agent.reopen()
        again = agent.run_block(scripts.end_to_end(run, 1e-4, []))
        assert again.id != done.id and len(again.steps) == len(done.steps)


def test_every_block_is_done_once_whatever_happens_to_the_link(
    client: AdbClient, phone: Phone, cache: Path
) -> None:
    made, run = compiled(cache, "x86_64")
    rng = random.Random(4)
    wanted = [scripts.end_to_end(run, 1e-4, []) for _ in range(6)]
    done: dict[str, int] = {}
    with phones.target(client, phone, real_paths=True) as target, NativeAgent(target) as agent:
        agent.put_program(made.program)
        for script in wanted:
            fault = threading.Timer(rng.uniform(0.0, 0.3), phone.drop)
            fault.start()
            for _ in range(40):
                try:
                    if not agent.alive:
                        agent.reopen()
                    done[agent.run_block(script).id] = len(done)
                    break
                except DeviceTransient:
                    threading.Event().wait(0.2)
            fault.join()
            phones.until_listed(client, phone.serial)
    assert list(done) == [script["id"] for script in wanted]


def test_a_phone_without_the_runtime_gets_the_native_agent(client: AdbClient, phone: Phone) -> None:
    with phones.target(client, phone, "/no/such/python3") as target:
        assert isinstance(choose(target), NativeAgent)
        assert isinstance(choose(target, "tvm"), NativeAgent)
        assert not isinstance(choose(target, "onnxruntime"), NativeAgent)
    with phones.target(client, phone, sys.executable) as target:
        assert not isinstance(choose(target), NativeAgent)
