"""The replayed memory plan: against the arena's own log, and by hand."""

import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lwprof.profiler.graph import read
from lwprof.profiler.session.kernels import HostRuntime

LOGGED = """
import sys
import numpy as np
import onnxruntime as ort
arena = ort.OrtArenaCfg({"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1,
    "max_dead_bytes_per_chunk": -1, "initial_growth_chunk_size_bytes": -1})
ort.set_default_logger_severity(1)
ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu",
    ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT), arena)
options = ort.SessionOptions()
options.intra_op_num_threads = options.log_severity_level = 1
options.add_session_config_entry("session.use_env_allocators", "1")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {i.name: np.zeros(i.shape, "float32") for i in session.get_inputs()}
for run in range(2):
    print("RUN", file=sys.stderr, flush=True)
    session.run(None, feeds)
"""


def chain(widths):
    """Products of matrices, from width to width: 64 rows of float32."""
    nodes, stored = [], []
    for i, (a, b) in enumerate(pairwise(widths)):
        name = "y" if i == len(widths) - 2 else f"v{i + 1}"
        nodes.append(helper.make_node("MatMul", [f"v{i}", f"w{i}"], [name]))
        stored.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, [a, b], [0.5] * (a * b)))
    return model(nodes, [64, widths[0]], [64, widths[-1]], stored, "v0")


def model(nodes, given, made, stored=(), start="x"):
    graph = helper.make_graph(
        nodes, "planned", [helper.make_tensor_value_info(start, TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)], list(stored),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def host():
    found = HostRuntime()
    yield found
    found.close()


def column(*widths):
    return 64 * 4 * sum(widths)


def test_two_buffers_take_turns_and_the_output_lies_apart(host):
    assert host.prepare(read(chain([7, 2, 3, 2, 3, 2]))).arena_bytes == column(2 + 3) + column(2)


def test_a_gap_that_is_too_small_stays_empty(host):
    # Alive at once are 3 + 5 columns, but the 5 do not fit where the 2 were.
    assert host.prepare(read(chain([1, 2, 3, 5, 1]))).arena_bytes == column(2 + 3 + 5) + column(1)


def test_a_gap_is_used_by_what_fits(host):
    assert host.prepare(read(chain([1, 5, 2, 3, 1]))).arena_bytes == column(5 + 2) + column(1)


def test_a_buffer_of_the_same_shape_is_kept_for_later(host):
    # The second value of width 4 takes the first one's buffer, which is held in between: the 3
    # cannot lie there, although it is empty just then.
    assert host.prepare(read(chain([1, 4, 2, 3, 4, 1]))).arena_bytes == column(4 + 2 + 3 + 1)


def test_what_is_written_over_costs_nothing(host):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]),
             helper.make_node("Sigmoid", ["a"], ["b"]), helper.make_node("Exp", ["b"], ["c"]),
             helper.make_node("MatMul", ["c", "v"], ["y"])]  # fmt: skip
    stored = [helper.make_tensor("w", TensorProto.FLOAT, [1, 8], [0.1] * 8),
              helper.make_tensor("v", TensorProto.FLOAT, [8, 1], [0.1] * 8)]  # fmt: skip
    planned = host.prepare(read(model(nodes, [64, 1], [64, 1], stored))).arena_bytes
    assert planned == column(8) + column(1)


def test_a_node_with_a_graph_of_its_own_has_no_plan(host):
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "then", [],
                             [helper.make_tensor_value_info("t", TensorProto.FLOAT, [4])])  # fmt: skip
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [],
                              [helper.make_tensor_value_info("e", TensorProto.FLOAT, [4])])  # fmt: skip
    nodes = [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
             helper.make_node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
             helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=other)]  # fmt: skip
    assert host.prepare(read(model(nodes, [4], [4]))).arena_bytes is None


@pytest.mark.parametrize(
    "name",
    ["squeezenet1_0", "mobilenet_v3_small", "shufflenet_v2_x0_5", "nasbench201_best", "mobilenet_v1",
     "googlenet"],
)  # fmt: skip
def test_published_networks_take_what_the_arena_logs(host, name, tmp_path):
    from lwprof import zoo

    path = tmp_path / "m.onnx"
    zoo.save(name, path)
    done = subprocess.run([sys.executable, "-c", LOGGED, str(path)], capture_output=True, text=True,
                          check=True)  # fmt: skip
    second = done.stderr.split("RUN")[2]
    logged = sum(map(int, re.findall(r"Extended allocation by (\d+) bytes", second)))
    planned = host.prepare(read(path)).arena_bytes
    # The outputs may lie in what the first run left over; activations are to the byte.
    outputs = sum(4 * int(np.prod([d.dim_value for d in v.type.tensor_type.shape.dim]))
                  for v in onnx.load(path).graph.output)  # fmt: skip
    assert logged <= planned <= logged + -(-outputs // 64) * 64
