"""Blocks of real models, from the host to ONNX Runtime and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import chain, feed, load, model, script, timed

from lwprof.agents import Agent
from lwprof.agents.messages import LoadResult, ProfileResult, TimeResult, WarmResult
from lwprof.errors import ModelError, UsageError

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"


def test_real_network_is_timed_and_profiled_end_to_end(agent: Agent) -> None:
    sha = agent.put(LIGHT)
    data = [feed("data_0", (1, 3, 224, 224))]
    prepared = agent.prepare(sha, {"threads": 1}, data)
    assert prepared.optimised is not None
    kernels = [node.name for node in onnx.load_model_from_string(prepared.optimised).graph.node]
    assert prepared.node_providers == {"CPU": len(kernels)}
    assert [(o.name, o.shape) for o in prepared.outputs] == [("softmaxout_1", [1, 1000, 1, 1])]

    record = agent.run_block(
        script(
            {**load(sha), "inputs": data},
            {**load(sha, "profiled", profile=True), "inputs": data},
            {"do": "warm", "worker": 0, "sessions": ["plain", "profiled"], "min_n": 2,
             "min_s": 0.0, "max_s": 20},
            timed(["plain", "profiled"], slices=2, n=2),
            timed(["profiled"], slices=1, n=3),
            {"do": "profile", "worker": 0, "session": "profiled"},
            {"do": "unload", "worker": 0, "session": "profiled"},
        )
    )  # fmt: skip
    loaded, _, warmed, first, second, profile, _ = record.steps
    assert isinstance(loaded, LoadResult) and loaded.load_s > 0 and loaded.first_inference_s > 0
    assert isinstance(warmed, WarmResult) and min(warmed.runs.values()) >= 2
    assert isinstance(first, TimeResult) and isinstance(second, TimeResult)
    assert first.order == ["plain", "profiled", "profiled", "plain"]
    assert isinstance(profile, ProfileResult)
    # Only the timed runs, all of them, and exactly the kernels of the optimised graph.
    assert len(profile.durations_ns) == len(profile.run_ns) == 2 * 2 + 3
    assert sorted(node.name for node in profile.nodes) == sorted(kernels)
    assert {node.provider for node in profile.nodes} == {"CPUExecutionProvider"}
    timed_runs = [
        t for part in first.times_ns["profiled"] + second.times_ns["profiled"] for t in part
    ]
    for row, run_ns, whole_ns in zip(profile.durations_ns, profile.run_ns, timed_runs, strict=True):
        # Each profiled run lies inside our own timing of the same call (ticks of 1 µs).
        assert sum(row) <= run_ns + 1000 * len(row) and run_ns <= whole_ns + 2000
    assert profile.memory["in_use_peak_bytes"] > 3154176  # one activation of the first layer
    json.dumps(record.to_json(), allow_nan=False)


def test_record_says_what_the_worker_really_was(agent: Agent) -> None:
    cpu = max(os.sched_getaffinity(0))
    sha = agent.put(chain())
    block = script(load(sha), timed(["plain"]))
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    block["workers"] = [{"affinity": [cpu], "nice": 19, "env": {}}]
    record = agent.run_block(block)
    (worker,) = record.workers
    assert worker.affinity == [cpu] and worker.nice == max(19, niceness)
    assert worker.pid != os.getpid()
    assert worker.rss_start_bytes and worker.rss_peak_bytes
    assert 1e6 < worker.rss_start_bytes <= worker.rss_peak_bytes
    assert worker.cpu_s is not None and worker.cpu_s > 0
    again = agent.run_block(script(load(sha), timed(["plain"])))
    assert again.workers[0].pid != worker.pid
    assert record.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_peak_memory_is_the_models_and_not_the_profile_readers(agent: Agent) -> None:
    big = 4 * 2**20
    sha = agent.put(
        model(
            [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])],
            {"x": (TensorProto.FLOAT, [big])},
            {"y": (TensorProto.FLOAT, [big])},
        )
    )
    data = [feed("x", (big,))]
    record = agent.run_block(script({**load(sha), "inputs": data}, timed(["plain"], n=1)))
    (worker,) = record.workers
    assert worker.rss_peak_bytes is not None and worker.rss_start_bytes is not None
    used = worker.rss_peak_bytes - worker.rss_start_bytes
    # Two tensors of 16 MiB, perhaps three; the input itself was there before.
    assert 0.95 * 2 * 4 * big <= used <= 1.3 * 3 * 4 * big

    many = agent.put(chain(60, 8))
    steps = [
        {**load(many, profile=True), "inputs": [feed("t0", (8,))]},
        timed(["plain"], slices=1, n=300),
    ]
    quiet = agent.run_block(script(*steps)).workers[0]
    read = agent.run_block(script(*steps, {"do": "profile", "session": "plain"})).workers[0]
    assert quiet.rss_peak_bytes and read.rss_peak_bytes
    assert read.rss_peak_bytes <= quiet.rss_peak_bytes + 8 * 2**20


def test_two_workers_alive_at_once_take_turns(agent: Agent) -> None:
    sha = agent.put(chain())
    steps = [load(sha, worker=0), load(sha, worker=1)]
    for worker in (0, 1, 1, 0, 0, 1, 1, 0):
        steps.append(timed(["plain"], worker=worker, slices=1))
    record = agent.run_block(script(*steps, workers=2))
    assert len({worker.pid for worker in record.workers}) == 2
    assert len(record.steps) == len(steps)
    assert record.environment.delta.windows == 1


def test_windows_hold_timed_steps_only(agent: Agent) -> None:
    sha = agent.put(chain())
    steps = []
    for index in range(3):
        steps += [load(sha, f"s{index}"), timed([f"s{index}"]), timed([f"s{index}"])]
    record = agent.run_block(script(*steps))
    delta = record.environment.delta
    assert delta.windows == 3
    inside = sum(step.duration_s for step in record.steps if isinstance(step, TimeResult))
    assert delta.window_s is not None and inside <= delta.window_s < record.duration_s


def test_open_slices_fill_their_time_and_have_one_run_at_least(agent: Agent) -> None:
    sha = agent.put(chain())
    record = agent.run_block(
        script(
            load(sha),
            timed(["plain"], n=None, slice_s=0.05, slices=3),
            timed(["plain"], n=None, slice_s=0.0, slices=2),
        )
    )
    filled, single = (step.times_ns["plain"] for step in record.steps[1:])
    assert len(filled) == 3 and all(sum(part) >= 0.03e9 for part in filled)
    assert [len(part) for part in single] == [1, 1]


def test_outputs_are_what_the_same_runtime_computes_here(agent: Agent) -> None:
    import hashlib

    import onnxruntime

    from lwprof.agents.program import inputs

    record = agent.run_block(script({**load(agent.put(chain())), "digest": True}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(chain(), options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, inputs.build([feed()]))
    x = inputs.build([feed()])["t0"]
    for _ in range(6):
        x = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(expected, x, rtol=1e-5)
    inner = hashlib.sha256(expected.tobytes()).digest()
    assert record.steps[0].output_sha256 == hashlib.sha256(inner).hexdigest()


@pytest.mark.parametrize("provider", ["CUDA", "XNNPACK", "CUDAExecutionProvider", "nonsense"])
def test_absent_provider_is_refused_naming_those_there(agent: Agent, provider: str) -> None:
    sha = agent.put(chain())
    for attempt in (
        lambda: agent.prepare(sha, {"threads": 1, "provider": provider}, [feed()]),
        lambda: agent.run_block(script(load(sha, provider=provider, allow_fallback=True))),
    ):
        with pytest.raises(UsageError, match="CPU") as caught:
            attempt()
        assert provider.removesuffix("ExecutionProvider") in str(caught.value)


def test_provider_that_runs_no_node_is_refused_unless_allowed_and_then_named(agent: Agent) -> None:
    # Azure's provider is in the public wheels, and silently leaves every node to the CPU.
    facts = agent.facts()
    if "Azure" not in facts.runtimes["onnxruntime"].providers:
        pytest.skip("this onnxruntime has no provider but the CPU's")
    sha = agent.put(chain())
    options = {"threads": 1, "provider": "Azure"}
    with pytest.raises(UsageError, match="6 of 6 nodes"):
        agent.prepare(sha, options, [feed()])
    with pytest.raises(UsageError, match="6 of 6 nodes"):
        agent.run_block(script(load(sha, provider="Azure")))
    allowed = agent.prepare(sha, {**options, "allow_fallback": True}, [feed()])
    assert allowed.node_providers == {"CPU": 6}
    record = agent.run_block(script(load(sha, provider="azure", allow_fallback=True)))
    assert record.steps[0].node_providers == {"CPU": 6}


def test_wrong_input_is_the_models_fault(agent: Agent) -> None:
    sha = agent.put(chain())
    with pytest.raises(ModelError):
        agent.run_block(script({**load(sha), "inputs": [feed("t0", (3,))]}))
    with pytest.raises(ModelError):
        agent.run_block(script({**load(sha), "inputs": []}))


def test_optimisation_levels_and_disabled_optimisers_reach_the_runtime(agent: Agent) -> None:
    twice = model(
        [
            helper.make_node("Exp", ["x"], ["a"]),
            helper.make_node("Exp", ["x"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, [4])},
        {"y": (TensorProto.FLOAT, [4])},
    )
    sha = agent.put(twice)

    def nodes(**options: Any) -> int:
        prepared = agent.prepare(sha, {"threads": 1, **options}, None)
        assert prepared.optimised is not None
        return len(onnx.load_model_from_string(prepared.optimised).graph.node)

    assert nodes(optimisation="none") == 3
    assert nodes(optimisation="all") == 2
    assert nodes(disabled_optimizers=["CommonSubexpressionElimination"]) == 3


def test_model_with_external_data_travels_as_files(agent: Agent, tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])],
        [weights],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin",
              size_threshold=0)  # fmt: skip
    files = {"w.bin": agent.put(tmp_path / "w.bin")}
    step = {**load(agent.put(tmp_path / "m.onnx")), "inputs": [feed("x", (1000,))]}
    assert agent.run_block(script({**step, "files": files})).steps[0].outputs[0].shape == [1000]
    with pytest.raises(ModelError):
        agent.run_block(script(step))


def test_competing_load_is_seen(agent: Agent) -> None:
    cpu = min(os.sched_getaffinity(0))
    sha = agent.put(chain())
    block = script(load(sha), timed(["plain"], n=None, slice_s=0.4, slices=2))
    block["workers"] = [{"affinity": [cpu]}]
    spin = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        loaded = agent.run_block(block).environment.delta
        busy.kill()
    assert loaded.window_s is not None and loaded.window_s > 0.5
    # The other process had half of one processor, or more.
    assert loaded.competing_cpu_fraction is not None
    assert loaded.competing_cpu_fraction > 0.2 / (os.cpu_count() or 1)
    assert loaded.run_delay_fraction is not None and loaded.run_delay_fraction > 0.2
    assert loaded.steal_fraction is not None


def test_spinning_and_session_configuration_are_accepted(agent: Agent) -> None:
    sha = agent.put(chain())
    record = agent.run_block(
        script(
            load(sha, "quiet", spinning=False, threads=2),
            load(sha, "set", config={"session.set_denormal_as_zero": "1"}),
            timed(["quiet", "set"], order="random", seed=3, slices=5),
        )
    )
    order = record.steps[2].order
    assert len(order) == 10
    assert all(set(order[i : i + 2]) == {"quiet", "set"} for i in range(0, 10, 2))
