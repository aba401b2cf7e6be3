"""The layout of activations, by hand and against the runtime's own gaps."""

from itertools import pairwise

from onnx import TensorProto, helper

from lwprof.predictors.arena import arena_bytes
from lwprof.profiler.graph import read


def chain(widths, outputs=("y",)):
    """Products of matrices, from width to width: 64 rows of float32."""
    nodes, stored = [], []
    for i, (a, b) in enumerate(pairwise(widths)):
        name = "y" if i == len(widths) - 2 else f"v{i + 1}"
        nodes.append(helper.make_node("MatMul", [f"v{i}", f"w{i}"], [name]))
        stored.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, [a, b], [0.5] * (a * b)))
    graph = helper.make_graph(
        nodes, "chain",
        [helper.make_tensor_value_info("v0", TensorProto.FLOAT, [64, widths[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, widths[-1]])
         for name in outputs],
        stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_feeds_are_the_callers_and_two_buffers_take_turns():
    assert arena_bytes(read(chain([7, 2, 2, 2, 2]))) == 64 * 4 * (2 + 2)


def test_a_gap_that_is_too_small_stays_empty():
    # Alive at once are 2 + 5 columns; but the 5 do not fit where the first 2 were.
    assert arena_bytes(read(chain([1, 2, 2, 5]))) == 64 * 4 * (2 + 2 + 5)
    assert read(chain([1, 2, 2, 5])).peak_memory_inplace_bytes == 64 * 4 * (2 + 5)


def test_a_gap_is_used_by_what_fits():
    assert arena_bytes(read(chain([1, 5, 2, 3, 2]))) == 64 * 4 * (5 + 2)
