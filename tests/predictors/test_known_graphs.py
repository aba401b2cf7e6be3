"""What is known of graphs: recognised where nothing changed, read again where anything did."""

import os
import shutil
import sys
import time

import numpy as np
import onnx
import pytest

from lwprof import zoo
from lwprof.predictors.known_graphs import GraphFacts, KernelName, KnownGraph, KnownGraphs
from lwprof.predictors.lookup import LookupCostModel
from lwprof.profiler.graph import read
from lwprof.profiler.kernels import workload
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import OVERHEAD, Context, Device, Fact, Subject, open_store

RELU = workload("Relu", inputs=[(1, 8)], attributes={})


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "net.onnx"
    zoo.save("lenet5", found)
    old = time.time() - 60
    os.utime(found, (old, old))
    return found


def known_of(path, kernels=True):
    kernel = KernelName(RELU.key, ("Relu",), ("r",), RELU.description)
    return KnownGraph(GraphFacts.of(read(path)), (kernel,) if kernels else None)


def test_a_file_a_copy_and_another_process_are_recognised(path, tmp_path):
    graphs = KnownGraphs(None, "onnxruntime", tmp_path / "graphs")
    assert graphs.find(path) is None
    known = known_of(path)
    graphs.note(path, known)
    assert graphs.find(path) == known == graphs.find(str(path))
    copy = tmp_path / "other.onnx"
    shutil.copyfile(path, copy)
    assert graphs.find(copy).facts.name == "other"
    assert graphs.find(path.read_bytes()).kernels == known.kernels
    later = KnownGraphs(None, "onnxruntime", tmp_path / "graphs")
    assert later.find(path) == known
    assert later.find(path).kernels[0].workload == RELU
    for batch, runtime in ((2, "onnxruntime"), (None, "tvm")):
        assert KnownGraphs(batch, runtime, tmp_path / "graphs").find(path) is None


def test_a_file_that_changed_is_read_again_even_within_a_tick(path, tmp_path):
    graphs = KnownGraphs(None, "onnxruntime", None)
    graphs.note(path, known_of(path))
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert graphs.find(path) is None
    # Changed just now, with the old time put back: the content decides.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert graphs.find(path) is None


def test_a_file_just_written_is_not_trusted_by_its_time(tmp_path):
    path = tmp_path / "new.onnx"
    zoo.save("lenet5", path)
    graphs = KnownGraphs(None, "onnxruntime", None)
    graphs.note(path, known_of(path))
    assert graphs.find(path) is not None
    assert not graphs._digests


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": 1}', b"\xff\xfe", b"[]"])
def test_a_damaged_file_is_as_good_as_none(path, tmp_path, damage):
    folder = tmp_path / "graphs"
    KnownGraphs(None, "onnxruntime", folder).note(path, known_of(path))
    (kept,) = folder.glob("*.json")
    kept.write_bytes(damage)
    assert KnownGraphs(None, "onnxruntime", folder).find(path) is None


def test_weights_in_files_of_their_own_are_read_each_time(tmp_path):
    model = onnx.load_from_string(zoo.build("lenet5").SerializeToString())
    path = tmp_path / "apart.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=16)
    graphs = KnownGraphs(None, "onnxruntime", tmp_path / "graphs")
    graphs.note(path, known_of(path))
    assert graphs.find(path) is None
    assert graphs.read_as(read(path).sha256) is not None


def test_a_folder_that_cannot_be_written_costs_no_answer(path, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    graphs = KnownGraphs(None, "onnxruntime", tmp_path / "file" / "graphs")
    graphs.note(path, known_of(path))
    assert graphs.find(path) is not None


def test_a_known_file_is_answered_without_onnx(path, tmp_path):
    """The second process that is asked neither parses the file nor starts a runtime."""
    import subprocess

    context = Context("planted", "onnxruntime", "0", "CPU", 1, environment="synthetic")
    url = str(tmp_path / "planted.db")
    with open_store(url) as store:
        store.put_device(Device("planted", "host", "host"))
        run = store.begin_run({"kind": "plant"}, kind="campaign", context=context)
        store.put_subject(Subject(OVERHEAD, "chain", "overhead"))
        cost = LookupCostModel("host", store, context, tmp_path / "planted.predictors" / "graphs")
        kernels = cost._resolve(str(path))[1]
        keys = {(OVERHEAD, "call_s"), (OVERHEAD, "gap_s")}
        for kernel in kernels:
            store.put_subject(Subject(kernel.key, "workload", "", kernel.description))
            keys.add((kernel.key, "latency_s"))
        number = Estimate(1e-5, 9e-6, 1.1e-5, blocks=9)
        store.put_facts([Fact.of(number, run_id=run.run_id, context=context.key, subject=subject,
                                 quantity=quantity) for subject, quantity in sorted(keys)])  # fmt: skip
        store.finish_run(run.run_id)
        here = cost.predict(str(path))
    script = (
        "import sys, lwprof\n"
        f"costs = lwprof.cost_model('host', store={url!r}).predict({str(path)!r})\n"
        "print(float(costs.mean[0, 0]), float(costs.mean[0, 1]), 'onnx' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    latency, memory, loaded = done.stdout.split()
    np.testing.assert_array_equal([float(latency), float(memory)], here.mean[0])
    assert loaded == "False"
    assert here.models[0].graph.peak_memory_bytes is not None
