"""What every target must do, as checks that take a way to make one.

Local, SSH and adb targets (and anybody's own) are held to the same contract: call each
of ``CHECKS`` with a function that makes a fresh target. A check raises AssertionError.
None of them needs a runtime on the device.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lwprof.agents.client import Agent
from lwprof.agents.packing import program
from lwprof.agents.program.framing import FrameDecoder, encode
from lwprof.agents.targets._base import Connection, Target
from lwprof.errors import DeviceError, DeviceTransient, HostError, LwprofError

Make = Callable[[], Target]

_PATIENCE_S = 60.0


def greets_with_its_own_hash(make: Make) -> None:
    """The agent that runs is the one that was carried there."""
    with make() as target:
        connection = target.open()
        hello = _next(connection, FrameDecoder())
        _check(hello.get("agent_sha256") == program().sha256, "another agent answered")


def answers_many_questions_in_order(make: Make) -> None:
    """Replies come in the order of the questions, each with its id."""
    with make() as target:
        connection, decoder = target.open(), FrameDecoder()
        _next(connection, decoder)
        connection.send(b"".join(encode({"id": n, "op": "ping"}) for n in range(1, 51)), 10.0)
        ids: list[object] = []
        deadline = time.monotonic() + _PATIENCE_S
        while len(ids) < 50:
            data = connection.receive(deadline - time.monotonic())
            _check(bool(data), "the agent ended")
            ids += [message.get("id") for message in decoder.feed(data)]
        _check(ids == list(range(1, 51)), f"replies came as {ids}")


def carries_large_frames(make: Make) -> None:
    """A request and a reply of more than a megabyte arrive whole."""
    hashes = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(20000)]
    with make() as target:
        connection, decoder = target.open(), FrameDecoder()
        _next(connection, decoder)
        connection.send(encode({"id": 1, "op": "has", "args": {"blobs": hashes}}), _PATIENCE_S)
        reply = _next(connection, decoder)
        _check(reply.get("ok") == {"missing": hashes}, "a large frame was changed on its way")


def files_come_back_as_they_went(make: Make) -> None:
    """A blob that is pushed, from memory or from a file, is there and can be pulled."""
    content = bytes(range(256)) * 5000 + b"\r\n\x00\n"
    with make() as target, Agent(target) as agent, tempfile.TemporaryDirectory() as folder:
        sha256 = agent.put(content)
        _check(target.pull(sha256, len(content)) == content, "a pushed blob changed")
        file = Path(folder) / "a name with spaces; $(and) 'quotes'"
        file.write_bytes(content[::-1])
        _check(target.pull(agent.put(file), len(content)) == content[::-1], "a file changed")
        agent.reopen()
        target.push(content, sha256)
        _check(target.pull(sha256, len(content)) == content, "pushing twice broke a blob")


def refuses_what_it_cannot_pull(make: Make) -> None:
    """Absent and oversized blobs end in an error, not in other bytes."""
    with make() as target, Agent(target) as agent:
        sha256 = agent.put(b"x" * 1000)
        _refused(lambda: target.pull(sha256, 999), DeviceError)
        _refused(lambda: target.pull("0" * 64, 1000), DeviceError)
        _refused(lambda: agent.put(Path("/nonexistent/model.onnx")), HostError)


def notices_a_damaged_file(make: Make) -> None:
    """A blob whose content is not its name's is refused as transient, and removed."""
    sha256 = hashlib.sha256(b"the right content").hexdigest()
    with make() as target, Agent(target) as agent:
        agent.ping()
        target.push(b"other content", sha256)
        _refused(lambda: agent.prepare(sha256, {"threads": 1}, None), DeviceTransient)
        _check(agent.alive, "the agent ended over a damaged file")
        _refused(lambda: target.pull(sha256, 1000), DeviceError)


def a_wait_ends_in_time(make: Make) -> None:
    """Receiving from a silent agent raises TimeoutError when the time is over."""
    with make() as target:
        connection = target.open()
        _next(connection, FrameDecoder())
        start = time.monotonic()
        try:
            connection.receive(0.2)
        except TimeoutError:
            waited = time.monotonic() - start
            _check(0.15 <= waited < _PATIENCE_S, f"waited {waited:.2f} s instead of 0.2 s")
        else:
            raise AssertionError("a silent agent sent something")


def refusals_do_not_end_it(make: Make) -> None:
    """A malformed request is answered with its reason; the next one is served."""
    with make() as target:
        connection, decoder = target.open(), FrameDecoder()
        _next(connection, decoder)
        for wrong in ({"id": 1, "op": "eval"}, {"id": 1, "op": "has", "args": {"blobs": "../x"}},
                      {"id": 1, "op": "block", "args": []}, {"id": 1}):  # fmt: skip
            connection.send(encode(wrong), 10.0)
            _check("error" in _next(connection, decoder), f"{wrong} was not refused")
        connection.send(encode({"id": 2, "op": "ping"}), 10.0)
        _check(_next(connection, decoder).get("id") == 2, "the agent stopped answering")


def garbage_ends_it(make: Make) -> None:
    """After bytes that are no frame the agent says why, and ends."""
    with make() as target:
        connection, decoder = target.open(), FrameDecoder()
        _next(connection, decoder)
        connection.send(struct.pack("<I", 0xFFFFFFF0) + b"garbage", 10.0)
        _check("error" in _next(connection, decoder), "garbage was not refused")
        _check(_ends(connection), "the agent lives on after garbage")


def closing_ends_the_agent(make: Make) -> None:
    """Nothing is left to talk to after ``close``, which may be called again."""
    with make() as target:
        agent = Agent(target)
        agent.open()
        agent.ping()
        agent.close()
        agent.close()
        _refused(agent.ping, DeviceTransient)
        agent.reopen()
        agent.ping()
        agent.close()
    target.close()


def a_stop_is_obeyed(make: Make) -> None:
    """The agent ends when it is asked to."""
    with make() as target:
        connection, decoder = target.open(), FrameDecoder()
        _next(connection, decoder)
        connection.send(encode({"id": 1, "op": "stop"}), 10.0)
        _check(_next(connection, decoder).get("ok") == {}, "the stop was not confirmed")
        _check(_ends(connection), "the agent lives on after a stop")


def two_agents_do_not_mix(make: Make) -> None:
    """Two agents of one target answer their own questions, and share the blobs."""
    with make() as target, Agent(target) as first, Agent(target) as second:
        sha256 = first.put(b"shared")
        _check(second.put(b"shared") == sha256, "the hash of a blob differs")
        first.ping()
        second.ping()
        first.close()
        second.ping()


CHECKS: tuple[Callable[[Make], None], ...] = (
    greets_with_its_own_hash,
    answers_many_questions_in_order,
    carries_large_frames,
    files_come_back_as_they_went,
    refuses_what_it_cannot_pull,
    notices_a_damaged_file,
    a_wait_ends_in_time,
    refusals_do_not_end_it,
    garbage_ends_it,
    closing_ends_the_agent,
    a_stop_is_obeyed,
    two_agents_do_not_mix,
)


def _next(connection: Connection, decoder: FrameDecoder) -> dict[str, object]:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        data = connection.receive(deadline - time.monotonic())
        if not data:
            raise AssertionError(f"the agent ended: {connection.stderr_tail()}")
        messages = decoder.feed(data)
        if messages:
            _check(len(messages) == 1, "more replies than questions")
            return messages[0]


def _ends(connection: Connection) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while connection.receive(deadline - time.monotonic()):
            pass
    except TimeoutError:
        return False
    return True


def _refused(call: Callable[[], object], kind: type[LwprofError]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
