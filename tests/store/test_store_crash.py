"""A writer that is killed loses nothing it was told is stored, and stores nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from lwprof.profiler.store import Subject, open_store, request_digest
from lwprof.profiler.store.integrity import check

REQUEST = {"models": ["net"], "seed": 1}
BLOCKS = 2000
KILLS = 5

# Acknowledges each block on stdout after put_block has returned; resumes like `lwprof measure`.
WRITER = """
import sys
from lwprof.profiler.store import Block, Context, Subject, open_store, request_digest
request = {"models": ["net"], "seed": 1}
context = Context("unit-1", "onnxruntime", "1", "CPU", 1)
with open_store(sys.argv[1]) as store:
    store.put_subject(Subject("net", "model", "net.onnx"))
    run = store.resume(request_digest(request))
    run = run or store.begin_run(request, kind="measure", context=context)
    done = {block.block_id for block in store.blocks(run=run.run_id, payload=False)}
    for number in range(int(sys.argv[2])):
        block_id = f"{run.run_id}/{number}"
        if block_id not in done:
            payload = {"times_ns": [[number] * 400]}
            stored = store.put_block(Block(block_id, run.run_id, context.key, "net", "end_to_end",
                                           number, store.now(), payload=payload))
            print(block_id, int(stored), flush=True)
    store.finish_run(run.run_id)
"""


def write(path: Path, blocks: int, kill_after_s: float | None) -> list[str]:
    """Runs a writer, kills it after a while, and returns what it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(blocks)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    killer = None
    lines = []
    for line in writer.stdout:
        if killer is None and kill_after_s is not None:  # the clock starts at the first block
            killer = threading.Timer(kill_after_s, writer.kill)
            killer.start()
        lines.append(line)
    writer.stdout.close()
    writer.wait()
    if killer is not None:
        killer.cancel()
        killer.join()
    return [line.split()[0] for line in lines if line.endswith(" 1\n")]


def test_killed_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "measurements.db"
    chance = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(KILLS):
        acknowledged += write(path, BLOCKS, chance.uniform(0.0, 0.25))
        with open_store(path) as store:
            assert check(store) == []
            present = [block.block_id for block in store.blocks()]
            assert set(acknowledged) <= set(present)
            # One more may be stored whose acknowledgement the kill cut off, in each life.
            assert len(present) <= len(acknowledged) + KILLS
            assert len(present) == len(set(present))
            assert store.resume(request_digest(REQUEST)) is not None
    assert len(acknowledged) < BLOCKS, "no writer was killed in the middle; write more blocks"

    write(path, len(acknowledged) + 2 * KILLS, None)
    with open_store(path) as store:
        (run,) = store.runs()
        assert run.finished_utc is not None
        blocks = list(store.blocks())
        assert [block.sequence for block in blocks] == list(range(len(acknowledged) + 2 * KILLS))
        assert all(block.payload["times_ns"] == [[block.sequence] * 400] for block in blocks)


def test_many_processes_open_and_write_one_new_store(tmp_path: Path) -> None:
    path = tmp_path / "measurements.db"
    code = WRITER.replace('"seed": 1', '"seed": sys.argv[3]')
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), "20", str(number)],
                         stdout=subprocess.DEVNULL)
        for number in range(3)
    ]  # fmt: skip
    assert [writer.wait() for writer in writers] == [0] * 3
    with open_store(path) as store:
        assert check(store) == []
        assert len(store.runs()) == 3
        assert store.count_blocks() == 60


def test_a_reader_is_not_blocked_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "measurements.db"
    with open_store(path) as writer, open_store(path, readonly=True) as reader:
        with writer.writing() as connection:
            connection.exec_driver_sql(
                "INSERT INTO subjects VALUES ('half', 'model', 'half.onnx', '{}')"
            )
            started = time.monotonic()
            assert reader.subjects() == []
            assert time.monotonic() - started < 25  # far below the 30 s a lock is waited for
        writer.put_subject(Subject("whole", "model", "whole.onnx"))
        assert {subject.key for subject in reader.subjects()} == {"half", "whole"}
