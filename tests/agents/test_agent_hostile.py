"""A device's answers are untrusted: lies end in one error, and no record comes of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import load, script, timed

from lwprof.agents import Agent, Connection, Target
from lwprof.agents.client import ENVIRONMENTS
from lwprof.agents.messages import Facts, TimeResult
from lwprof.agents.packing import program
from lwprof.agents.program.framing import FrameDecoder, encode
from lwprof.agents.reading import block_record, clean, read
from lwprof.errors import DeviceError, DeviceTransient, LwprofError

HELLO = {"protocol": 1, "pid": 7, "python": "3.8.0", "agent_sha256": program().sha256}
STEPS = script(load("0" * 64), timed(["plain"]), {"do": "profile", "session": "plain"})
RECORD: dict[str, Any] = {
    "id": "b",
    "steps": [
        {"load_s": 0.1, "first_inference_s": 0.1, "providers": ["CPU"],
         "outputs": [{"name": "y", "dtype": "float32", "shape": [1]}]},
        {"times_ns": {"plain": [[1, 2, 3], [4, 5, 6]]}, "order": ["plain", "plain"],
         "duration_s": 0.1},
        {"nodes": [{"name": "a", "op": "Relu", "provider": "CPU"}],
         "durations_ns": [[1], [2], [3], [4], [5], [6]], "run_ns": [1, 2, 3, 4, 5, 6]},
    ],
    "environment": {"before": {"monotonic_ns": 1}, "after": {"monotonic_ns": 2}, "delta": {}},
    "workers": [{"pid": 9, "affinity": [0], "nice": 0, "wall_s": 1.0}],
    "started_monotonic_ns": 1,
    "duration_s": 1.0,
}  # fmt: skip
FACTS: dict[str, Any] = {
    "cores": 4, "environment": "hardware", "machine": "aarch64", "kernel": "6", "os": "x",
    "python": "3.8", "clusters": [{"cpus": [0, 1], "cores": 2}], "allowed_cpus": [1],
    "runtimes": {"onnxruntime": {"version": "1.19", "providers": ["CPU"]}}, "hardware_id": "ab",
}  # fmt: skip


class Scripted(Connection):
    """An agent that answers each question with bytes made from it."""

    def __init__(self, answer: Callable[[dict[str, Any]], bytes], hello: bytes) -> None:
        self._answer, self._out, self._decoder = answer, [hello], FrameDecoder()

    def send(self, data: bytes, timeout_s: float) -> None:
        self._out += [self._answer(message) for message in self._decoder.feed(data)]

    def receive(self, timeout_s: float) -> bytes:
        return self._out.pop(0) if self._out else b""

    def stderr_tail(self) -> str:
        return "Traceback\n\x1b[31mSomeError: \x07why"

    def close(self) -> None:
        self._out = []


class ScriptedTarget(Target):
    """A device whose agent is scripted."""

    name = "evil"

    def __init__(
        self, answer: Callable[[dict[str, Any]], bytes], hello: bytes | None = None
    ) -> None:
        self._answer = answer
        self._hello = encode(HELLO) if hello is None else hello

    def open(self) -> Connection:
        return Scripted(self._answer, self._hello)

    def push(self, source: bytes | Path, sha256: str) -> None:
        pass

    def pull(self, sha256: str, limit_bytes: int) -> bytes:
        return b"x"

    def close(self) -> None:
        pass


def frame(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


def ok(result: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda request: encode({"id": request["id"], "ok": result})


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """The good record with one entry replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(RECORD))
    place: Any = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def test_the_good_record_is_accepted() -> None:
    with ScriptedTarget(ok(RECORD)) as target, Agent(target) as agent:
        record = agent.run_block(STEPS)
    assert isinstance(record.steps[1], TimeResult)
    assert record.to_json()["steps"][1]["times_ns"] == {"plain": [[1, 2, 3], [4, 5, 6]]}


@pytest.mark.parametrize(
    "record",
    [
        changed(["steps", 1, "times_ns", "plain", 0, 0], -1),
        changed(["steps", 1, "times_ns", "plain", 0, 0], 1.5),
        changed(["steps", 1, "times_ns", "plain", 0, 0], "1"),
        changed(["steps", 1, "times_ns", "plain", 0, 0], True),
        changed(["steps", 1, "times_ns", "plain", 0, 0], 10**30),
        changed(["steps", 1, "times_ns", "plain", 0], []),
        changed(["steps", 1, "times_ns", "plain", 0], [1, 2]),
        changed(["steps", 1, "times_ns", "plain"], [[1, 2, 3]]),
        changed(["steps", 1, "times_ns"], {"other": [[1, 2, 3]]}),
        changed(["steps", 1, "times_ns"], {}),
        changed(["steps", 1, "order"], ["plain", "other"]),
        changed(["steps", 0, "load_s"], -0.5),
        changed(["steps", 0, "load_s"], None),
        changed(["steps", 0, "outputs", 0, "shape"], [-1]),
        changed(["steps", 2, "durations_ns", 0], [1, 2]),
        changed(["steps", 2, "run_ns"], [1, 2]),
        changed(["steps", 2, "nodes"], []),
        changed(["steps"], RECORD["steps"][:2]),
        changed(["steps", 0], RECORD["steps"][1]),
        changed(["id"], "another"),
        changed(["workers"], []),
        changed(["workers", 0, "nice"], 99),
        changed(["workers", 0, "rss_peak_bytes"], -4),
        changed(["environment", "delta"], {"competing_cpu_fraction": 1.5}),
        changed(["environment", "delta"], {"steal_fraction": -0.1}),
        changed(["environment", "before"], {}),
        changed(["duration_s"], "long"),
        {},
    ],
)
def test_wrong_records_are_refused(record: dict[str, Any]) -> None:
    with ScriptedTarget(ok(record)) as target, Agent(target) as agent:
        with pytest.raises(DeviceError) as caught:
            agent.run_block(STEPS)
        assert not agent.alive
    assert "evil" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda r: frame(f'{{"id": {r["id"]}, "ok": {{"x": NaN}}}}'), DeviceError),
        (lambda r: frame(f'{{"id": {r["id"]}, "ok": {{"x": 1e999}}}}'), DeviceError),
        (lambda r: struct.pack("<I", 0xFFFFFFFF), DeviceError),
        (lambda r: b"\x1b[2Jnot a frame at all", DeviceError),
        (lambda r: frame("[]"), DeviceError),
        (lambda r: encode({"id": r["id"] + 1, "ok": {}}), DeviceError),
        (lambda r: encode({"id": r["id"] - 1, "ok": {}}), DeviceError),
        (lambda r: encode({"id": r["id"]}), DeviceError),
        (lambda r: encode({"id": r["id"], "ok": [1]}), DeviceError),
        (lambda r: encode({"id": r["id"], "error": "no"}), DeviceError),
        (lambda r: encode({"id": r["id"], "error": {"kind": "x", "message": 3}}), DeviceError),
        (lambda r: encode({"id": r["id"], "error": {}, "ok": {}}), DeviceError),
        (lambda r: encode({"ok": {}})[:-3], DeviceTransient),
        (lambda r: b"", DeviceTransient),
    ],
)
def test_broken_answers_are_one_error_and_end_the_agent(
    answer: Callable[[dict[str, Any]], bytes], kind: type[LwprofError]
) -> None:
    with ScriptedTarget(answer) as target, Agent(target) as agent:
        with pytest.raises(kind) as caught:
            agent.ping()
        assert not agent.alive
    text = str(caught.value)
    assert text.isprintable() and "\x1b" not in text


@pytest.mark.parametrize(
    "hello",
    [encode({}), encode({**HELLO, "protocol": 2}), encode({**HELLO, "agent_sha256": "0" * 64}),
     encode({**HELLO, "pid": -1}), b"Welcome to evil!\n" * 100, b"",
     encode({"error": {"kind": "workdir", "message": "read-only\x1b[0m"}})],
)  # fmt: skip
def test_wrong_hello_is_refused(hello: bytes) -> None:
    agent = Agent(ScriptedTarget(ok({}), hello))
    with pytest.raises(DeviceError) as caught:
        agent.open()
    assert not agent.alive and str(caught.value).isprintable()


def test_events_may_precede_the_answer() -> None:
    def answer(request: dict[str, Any]) -> bytes:
        event = encode({"id": request["id"], "event": "step", "index": 1})
        return event * 3 + encode({"id": request["id"], "ok": {}})

    with ScriptedTarget(answer) as target, Agent(target) as agent:
        agent.ping()
        agent.ping()


def test_a_file_that_is_not_the_one_announced_is_refused() -> None:
    reply = {"providers": ["CPU"], "outputs": [],
             "optimised": {"sha256": "0" * 64, "size_bytes": 1}}  # fmt: skip
    agent = Agent(ScriptedTarget(ok(reply)))
    agent.open()
    with pytest.raises(DeviceTransient, match="damaged"):
        agent.prepare("0" * 64, {}, None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_for_an_answer_never_raise_anything_else(noise: bytes) -> None:
    agent = Agent(ScriptedTarget(lambda request: noise))
    agent.open()
    try:
        agent.ping()
    except LwprofError:
        return


PLACES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                 max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(PLACES, st.data())
def test_a_record_with_anything_anywhere_is_good_or_refused(
    value: Any, data: st.DataObject
) -> None:
    record: Any = json.loads(json.dumps(RECORD))
    place, depth = record, 0
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        depth += 1
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = value
            break
        place = inner
    try:
        found = block_record(record, STEPS, "evil")
    except DeviceError:
        return
    json.dumps(found.to_json(), allow_nan=False)


@given(st.text())
def test_clean_text_is_printable_and_bounded(text: str) -> None:
    cleaned = clean({text: [text, {"k": text}]})
    ((key, (first, inner)),) = cleaned.items()
    assert all(t.isprintable() and len(t) <= 4096 for t in (key, first, inner["k"]))


def test_less_real_of_device_and_target_counts() -> None:
    for own in ENVIRONMENTS:
        for stand_in in (None, *ENVIRONMENTS[1:]):
            target = ScriptedTarget(ok({**FACTS, "environment": own}))
            target.environment = stand_in
            with Agent(target) as agent:
                found = agent.facts().environment
            assert ENVIRONMENTS.index(found) == max(
                ENVIRONMENTS.index(own), ENVIRONMENTS.index(stand_in or "hardware")
            )


def test_fastest_processors_are_one_per_core_and_allowed() -> None:
    clusters = [
        {"cpus": [4, 5, 6, 7], "cores": 2, "first_of_core": [4, 6]},
        {"cpus": [0, 1, 2, 3], "cores": 4, "first_of_core": [0, 1, 2, 3]},
    ]
    facts = {**FACTS, "cores": 8, "clusters": clusters}
    assert read({**facts, "allowed_cpus": list(range(8))}, Facts, "d").fastest_cpus == [4, 6]
    assert read({**facts, "allowed_cpus": [0, 5]}, Facts, "d").fastest_cpus == [5]
    assert read({**facts, "allowed_cpus": [2, 3]}, Facts, "d").fastest_cpus == [2, 3]
    assert read({**facts, "allowed_cpus": [9]}, Facts, "d").fastest_cpus == [9]


@pytest.mark.parametrize(
    "change",
    [{"cores": 0}, {"environment": "real"}, {"memory_bytes": -1}, {"cpu_quota": 0.0},
     {"runtimes": []}, {"clusters": [{"cpus": ["a"]}]}, {"allowed_cpus": None}],
)  # fmt: skip
def test_wrong_facts_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match="Facts"):
        read({**FACTS, **change}, Facts, "evil")
