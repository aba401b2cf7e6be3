"""Native programs: the numbers they compute, the blocks they run, and how they fail."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from native_world import QEMU, NativeTarget

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'lwprof[tvm]'")

sys.path.insert(0, str(Path(__file__).parents[1] / "tvm"))
from tvm_models import Model

from lwprof.agents.native import NativeAgent, NativeProgram
from lwprof.agents.native.worker import NativeWorker
from lwprof.agents.program.framing import encode
from lwprof.errors import DeviceError, DeviceTransient, ModelError, UsageError
from lwprof.profiler.graph import input_specs, read
from lwprof.profiler.session import blocks, scripts
from lwprof.profiler.tvm.linking import machine as machine_of
from lwprof.profiler.tvm.linking import require_linker
from lwprof.profiler.tvm.native import NativeArtifact, compile_native

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def network() -> Any:
    """Convolutions plain, strided and depthwise, a residual, pooling, a view, a softmax."""
    m = Model(x=(1, 3, 20, 20))
    x = m.add("Conv", "x", m.weight(16, 3, 3, 3), m.weight(16), pads=[1] * 4, strides=[2, 2])
    x = m.add("Relu", x)
    y = m.add("Conv", x, m.weight(16, 1, 3, 3), m.weight(16), pads=[1] * 4, group=16)
    y = m.add("Conv", y, m.weight(16, 16, 1, 1), m.weight(16))
    x = m.add("Add", x, y)
    x = m.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = m.add("GlobalAveragePool", x)
    x = m.add("Flatten", x)
    x = m.add("Gemm", x, m.weight(16, 7), m.weight(7))
    return m.proto(m.add("Softmax", x, axis=1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def artifact(cache: Path) -> NativeArtifact:
    return compile_native(read(network()), machine="x86_64", threads=2, cache_dir=cache)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[NativeAgent]:
    with NativeTarget(tmp_path, "x86_64") as target, NativeAgent(target, runtime="0") as made:
        yield made


def feeds() -> dict[str, Any]:
    return {"x": np.random.default_rng(3).standard_normal((1, 3, 20, 20)).astype("float32")}


def assert_as_onnxruntime(agent: NativeAgent, program: NativeProgram, threads: int) -> None:
    session = onnxruntime.InferenceSession(
        network().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, feeds())
    found = agent.infer(agent.put_program(program), feeds(), threads)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert float(np.abs(ours - theirs).max()) <= 1e-5 * float(np.abs(theirs).max())


@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_those_of_onnxruntime(
    agent: NativeAgent, artifact: NativeArtifact, threads: int
) -> None:
    assert_as_onnxruntime(agent, artifact.program, threads)


@pytest.mark.parametrize("machine", ["aarch64", "armv7l"])
def test_outputs_under_emulation_are_those_of_onnxruntime(
    machine: str, tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("ziglang", reason="the cross compiler is missing: pip install ziglang")
    if QEMU[machine] is None:
        pytest.skip("no emulator: apt-get install qemu-user-static")
    made = compile_native(read(network()), machine=machine, threads=2, cache_dir=cache)
    head = made.program.executable.read_bytes()[:20]
    kind, number = struct.unpack_from("<HH", head, 16)
    assert (head[4], kind, number) == {"aarch64": (2, 3, 183), "armv7l": (1, 3, 40)}[machine]
    with NativeTarget(tmp_path, machine) as target, NativeAgent(target, machine=machine) as agent:
        assert agent.facts().environment == "emulated"
        assert_as_onnxruntime(agent, made.program, 2)


def test_programs_load_on_pages_of_16_kilobytes(artifact: NativeArtifact) -> None:
    data = artifact.program.executable.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    alignments = []
    for place in range(table, table + size * count, size):
        kind, _, offset, address = struct.unpack_from("<IIQQ", data, place)
        if kind == 1:
            (alignment,) = struct.unpack_from("<Q", data, place + 48)
            alignments.append(alignment)
            assert offset % 16384 == address % 16384
    assert alignments and min(alignments) >= 16384


def test_a_block_is_timed_in_and_out_of_context(
    agent: NativeAgent, artifact: NativeArtifact
) -> None:
    blob = agent.put_program(artifact.program)
    run = scripts.Runnable(blob, input_specs(read(network())), {"runtime": "tvm", "threads": 1})
    script = scripts.end_to_end(run, 1e-3, [])
    plain = blocks.end_to_end(script, agent.run_block(script).to_json())
    assert len(plain.times_s) == scripts.iterations(1e-3) and plain.times_s.min() > 0
    assert plain.memory_bytes is not None and plain.memory_bytes > 0
    script = scripts.in_context(run, {}, 1e-3, len(artifact.kernels), [])
    inside = blocks.in_context(script, agent.run_block(script).to_json())
    assert inside.nodes == tuple(kernel.kernel.runtime_node for kernel in artifact.kernels)
    assert (inside.reported_s.sum(axis=1) > 0).all()
    assert inside.overhead.call_s >= 0


def test_two_workers_alternate(agent: NativeAgent, artifact: NativeArtifact) -> None:
    blob = agent.put_program(artifact.program)
    run = scripts.Runnable(blob, input_specs(read(network())), {"runtime": "tvm", "threads": 1})
    script = scripts.pair(run, run, (1e-4, 1e-4), [], a_first=False, slices=4)
    record = agent.run_block(script)
    assert len({worker.pid for worker in record.workers}) == 2
    assert abs(blocks.pair_log_ratio(script, record.to_json())) < 3


def test_profiles_hold_the_timed_runs_only(agent: NativeAgent, artifact: NativeArtifact) -> None:
    blob = agent.put_program(artifact.program)
    worker = agent.start(blob)
    worker.ask(agent.load_step(blob, "p", {"profile": True, "threads": 1}, None), 60)
    warmed = worker.ask({"do": "warm", "sessions": ["p"], "min_n": 7, "max_s": 60}, 60)
    assert warmed["runs"]["p"] >= 7
    timed = worker.ask({"do": "time", "sessions": ["p"], "slices": 3, "n": 4}, 60)
    assert [len(part) for part in timed["times_ns"]["p"]] == [4, 4, 4]
    profile = worker.ask({"do": "profile", "session": "p"}, 60)
    durations = np.array(profile["durations_ns"])
    assert durations.shape == (12, len(artifact.kernels))
    assert (durations.sum(axis=1) <= np.array(profile["run_ns"])).all()
    assert (np.array(profile["run_ns"]) <= np.concatenate(timed["times_ns"]["p"])).all()
    assert len(profile["gap_ns"]) == 50
    worker.close()


def test_slices_alternate_forward_and_backward(
    agent: NativeAgent, artifact: NativeArtifact
) -> None:
    blob = agent.put_program(artifact.program)
    worker = agent.start(blob)
    names = ["a", 'odd "ü" \\ name']
    for name in names:
        worker.ask(agent.load_step(blob, name, {"threads": 1}, None), 60)
    step = {"do": "time", "sessions": names, "slices": 4, "slice_s": 1e-4, "order": "abba"}
    timed = worker.ask(step, 60)
    assert timed["order"] == [*names, *reversed(names)] * 2
    assert all(all(part) for parts in timed["times_ns"].values() for part in parts)
    worker.close()


@pytest.mark.parametrize(
    "step",
    [
        {"do": "explode"}, {"do": "time", "sessions": ["none"], "n": 1}, {"do": "time"},
        {"do": "time", "sessions": ["a", "a"], "n": 1}, {"do": "time", "sessions": ["a"]},
        {"do": "time", "sessions": ["a"], "n": 10**9}, {"do": "time", "sessions": {}, "n": 1},
        {"do": "time", "sessions": ["a"], "n": "many"}, {"do": "warm", "sessions": []},
        {"do": "profile", "session": "a"}, {"do": "unload"}, {"do": "load"},
        {"do": "load", "session": "b", "weights": "/nonexistent"},
        {"do": "read", "files": ["/etc/passwd"]}, {"do": "read", "files": ["/proc/../etc/passwd"]},
    ],
    ids=lambda step: str(step)[:40],
)  # fmt: skip
def test_refusals_do_not_end_it(
    agent: NativeAgent, artifact: NativeArtifact, step: dict[str, Any]
) -> None:
    blob = agent.put_program(artifact.program)
    worker = agent.start(blob)
    worker.ask(agent.load_step(blob, "a", {"threads": 1}, None), 60)
    with pytest.raises(DeviceError if "weights" in step else Exception):
        worker.ask(step, 60)
    assert worker.ask({"do": "time", "sessions": ["a"], "n": 2}, 60)["order"] == ["a"]
    worker.close()


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x05\0\0\0{\"a\":", b"\x02\0\0\0[]", b"\x04\0\0\0{,,}",
     struct.pack("<I", 400) + b"[" * 400, b"\x08\0\0\0{\"a\"\"b\"}"],
)  # fmt: skip
def test_garbage_ends_it(agent: NativeAgent, artifact: NativeArtifact, data: bytes) -> None:
    blob = agent.put_program(artifact.program)
    worker = agent.start(blob)
    connection = worker._connection
    assert connection is not None
    connection.send(data, 10)
    received = b""
    while chunk := connection.receive(30):
        received += chunk
    assert b"sanitizer" not in received
    worker.close()


def test_a_killed_process_is_a_passing_fault(
    agent: NativeAgent, artifact: NativeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = agent.put_program(artifact.program)
    run = scripts.Runnable(blob, input_specs(read(network())), {"runtime": "tvm", "threads": 1})
    asked = NativeWorker.ask

    def kill_first(worker: NativeWorker, step: Any, timeout_s: float) -> dict[str, Any]:
        if step["do"] == "time":
            agent._carrier.run(["kill", "-9", str(worker.pid)])
        return asked(worker, step, timeout_s)

    with monkeypatch.context() as patch:
        patch.setattr(NativeWorker, "ask", kill_first)
        with pytest.raises(DeviceTransient):
            agent.run_block(scripts.end_to_end(run, 1e-3, []))
    assert not agent.alive
    agent.reopen()
    assert agent.run_block(scripts.end_to_end(run, 1e-3, [])).steps


def test_a_damaged_program_is_noticed_before_it_runs(
    agent: NativeAgent, artifact: NativeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry = type(agent._carrier).install
    with monkeypatch.context() as patch:
        patch.setattr(type(agent._carrier), "install",
                      lambda self, data, name: carry(self, data[:-1] + b"\1", name))  # fmt: skip
        with pytest.raises(DeviceTransient, match="damaged"):
            agent.put_program(artifact.program)
    agent.put_program(artifact.program)


def test_wrong_inputs_and_runtimes_are_refused(
    agent: NativeAgent, artifact: NativeArtifact
) -> None:
    blob = agent.put_program(artifact.program)
    with pytest.raises(UsageError, match="float32 of shape"):
        agent.infer(blob, {"x": np.zeros((1, 3, 20, 21), "float32")})
    with pytest.raises(UsageError, match="onnxruntime"):
        agent.prepare(blob, {"runtime": "onnxruntime"}, None)
    with pytest.raises(UsageError, match="no native program"):
        agent.prepare("0" * 64, {"runtime": "tvm"}, None)


def test_without_weights_only_times_remain(agent: NativeAgent, cache: Path) -> None:
    made = compile_native(
        read(network()), machine="x86_64", threads=2, weights=False, cache_dir=cache
    )
    assert made.from_cache and made.program.weights is None
    (output,) = agent.infer(agent.put_program(made.program), feeds())
    assert output.sum() == pytest.approx(1.0)  # a softmax of something


def test_networks_that_need_the_runtime_are_refused(cache: Path) -> None:
    node = onnx.helper.make_node("TopK", ["x", "k"], ["values", "places"], axis=1)
    graph = onnx.helper.make_graph(
        [node], "sorting",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 40))],
        [onnx.helper.make_tensor_value_info("values", onnx.TensorProto.FLOAT, (1, 3))],
        [onnx.numpy_helper.from_array(np.array([3], dtype="int64"), "k")],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    with pytest.raises(ModelError, match="native agent"):
        compile_native(read(proto), machine="x86_64", cache_dir=cache)


def test_only_known_machines_have_programs() -> None:
    assert machine_of("arm64").name == "aarch64"
    with pytest.raises(UsageError, match="aarch64, armv7l, x86_64"):
        machine_of("mips")
    assert require_linker(machine_of("x86_64"))


def test_frames_are_those_of_the_ordinary_agent(
    agent: NativeAgent, artifact: NativeArtifact
) -> None:
    worker = agent.start(agent.put_program(artifact.program))
    connection = worker._connection
    assert connection is not None
    connection.send(encode({"id": 1, "step": {"do": "read", "files": ["/proc/loadavg"]}}), 10)
    reply = worker._next(1e18)
    assert reply["id"] == 1
    assert list(reply["ok"]["files"]) == ["/proc/loadavg"]
    worker.close()
