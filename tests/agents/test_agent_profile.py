"""ONNX Runtime's profile: every node of the main graph once per run, bodies kept apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from small_models import feed, load, model, script, timed

from lwprof.agents import Agent
from lwprof.agents.messages import ProfileResult
from lwprof.agents.program import ort_profile
from lwprof.agents.program.failures import Failure

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def looping(trips: int) -> tuple[bytes, list[dict[str, Any]]]:
    """Relu, a Loop whose body is Add and Sigmoid, Tanh."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "v"], ["w"], name="add"),
            helper.make_node("Sigmoid", ["w"], ["z"], name="sigmoid"),
            helper.make_node("Identity", ["c"], ["c2"], name="keep"),
        ],
        "body",
        [helper.make_tensor_value_info("i", INT64, []),
         helper.make_tensor_value_info("c", BOOL, []),
         helper.make_tensor_value_info("v", FLOAT, [8])],
        [helper.make_tensor_value_info("c2", BOOL, []),
         helper.make_tensor_value_info("z", FLOAT, [8])],
    )  # fmt: skip
    data = model(
        [
            helper.make_node("Relu", ["x"], ["a"], name="relu"),
            helper.make_node("Loop", ["n", "", "a"], ["b"], body=body, name="loop"),
            helper.make_node("Tanh", ["b"], ["y"], name="tanh"),
        ],
        {"x": (FLOAT, [8]), "n": (INT64, [])},
        {"y": (FLOAT, [8])},
    )
    count = {"kind": "constant", "value": trips}
    n = {"name": "n", "kind": "tensor", "dtype": "int64", "shape": [], "fill": count}
    return data, [feed("x", (8,)), n]


def test_bodies_of_loops_are_counted_apart_and_not_twice(agent: Agent) -> None:
    data, inputs = looping(5)
    record = agent.run_block(
        script(
            {**load(agent.put(data), profile=True), "inputs": inputs},
            timed(["plain"], slices=1, n=4),
            {"do": "profile", "session": "plain"},
        )
    )
    profile = record.steps[2]
    assert isinstance(profile, ProfileResult)
    assert [node.name for node in profile.nodes] == ["relu", "loop", "tanh"]
    assert [node.inputs for node in profile.nodes] == [1, 2, 1]
    assert all(
        sum(row) <= run for row, run in zip(profile.durations_ns, profile.run_ns, strict=True)
    )
    assert profile.inner is not None
    inner = [node.op for node in profile.inner.nodes]
    assert {"Add", "Sigmoid"} <= set(inner)
    for row, calls, outer in zip(
        profile.inner.durations_ns, profile.inner.calls, profile.durations_ns, strict=True
    ):
        assert calls[inner.index("Add")] == calls[inner.index("Sigmoid")] == 5
        assert sum(row) <= outer[1]


def event(category: str, name: str, ts: int, dur: int, **args: Any) -> dict[str, Any]:
    return {"cat": category, "name": name, "ts": ts, "dur": dur, "args": args}


def written(path: Path, events: list[dict[str, Any]]) -> str:
    file = path / "profile.json"
    file.write_text("[\n" + ",\n".join(map(json.dumps, events)) + "\n]\n")
    return str(file)


class Clock:
    """Writes events as the runtime would: each when it ends."""

    def __init__(self) -> None:
        self.now = 0
        self.events: list[dict[str, Any]] = []

    def node(
        self, name: str, duration: int, body: list[list[tuple[str, int]]] | None = None
    ) -> int:
        start = self.now
        for trip in body or []:
            self.executor(trip)
        self.now += duration
        self.events.append(
            event("Node", f"{name}_kernel_time", start, self.now - start, op_name="X",
                  node_index="0", provider="CPUExecutionProvider")
        )  # fmt: skip
        return self.now - start

    def executor(self, nodes: list[tuple[str, int]]) -> None:
        start = self.now
        for name, duration in nodes:
            self.node(name, duration)
        self.events.append(event("Session", "SequentialExecutor::Execute", start, self.now - start))


TRIPS = st.lists(
    st.lists(st.tuples(st.sampled_from(["p", "q"]), st.integers(0, 3)), max_size=3), max_size=3
)


@given(
    runs=st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=4),
    trips=TRIPS,
    pause=st.integers(1, 3),
)
def test_planted_durations_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[int]],
    trips: list[list[tuple[str, int]]],
    pause: int,
) -> None:
    clock, expected = Clock(), []
    for durations in runs:
        began, row = clock.now, []
        for index, duration in enumerate(durations):
            # The runtime needs some time between one node and the next.
            clock.now += pause
            row.append(clock.node(f"n{index}", duration, trips if index == 2 else None))
        clock.events.append(
            event("Session", "SequentialExecutor::Execute", began, clock.now - began)
        )
        clock.events.append(event("Session", "model_run", began, clock.now - began))
        clock.now += pause
        expected.append([duration * 1000 for duration in row])
    found = ort_profile.read(written(tmp_path_factory.mktemp("p"), clock.events))
    assert [node["name"] for node in found["nodes"]] == ["n0", "n1", "n2", "n3"]
    assert found["durations_ns"] == expected
    names = [node["name"] for node in found["inner"]["nodes"]]
    for row, calls in zip(found["inner"]["durations_ns"], found["inner"]["calls"], strict=True):
        for name, duration, count in zip(names, row, calls, strict=True):
            planted = [d for trip in trips for n, d in trip if n == name]
            assert (duration, count) == (1000 * sum(planted), len(planted))


def test_versions_without_executor_events_are_read(tmp_path: Path) -> None:
    events = [
        event("Node", "a_kernel_time", 1, 2, op_name="A", provider="P"),
        event("Node", "a_fence_before", 1, 0, op_name="A"),
        event("Node", "b_kernel_time", 3, 4, op_name="B", provider="P"),
        event("Session", "model_run", 0, 9),
    ]
    found = ort_profile.read(written(tmp_path, events))
    assert found["durations_ns"] == [[2000, 4000]] and found["run_ns"] == [9000]


def test_a_cut_profile_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.json"
    file.write_text('[\n{"cat":"Session","name":"model_run","ts":0,"dur":1,"args":{}},\n{"cat":"No')
    with pytest.raises(Failure, match="damaged"):
        ort_profile.read(str(file))
