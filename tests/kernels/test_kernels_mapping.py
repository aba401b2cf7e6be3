"""The optimised graph mapped back: fusions, layouts, folding, dead code, names in the profile."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from kernel_world import (
    F,
    check_complete,
    conv,
    kernels_of,
    keys_alone,
    model,
    node,
    optimise,
    profiled,
    random,
)
from onnx import TensorProto, helper

from lwprof.errors import DeviceError
from lwprof.profiler.graph import read
from lwprof.profiler.kernels import onnxruntime_kernels, operators_workload, workload

X = {"x": (1, 32, 28, 28)}
Y = {"y": (1, 32, 28, 28)}
W = {"w": random(32, 32, 3, 3), "w2": random(32, 32, 3, 3, seed=1)}


def groups(kernels):
    return [kernel.nodes for kernel in kernels if kernel.kind == "compute"]


def named(*nodes):
    for index, each in enumerate(nodes):
        each.name = each.name or f"n{index}"
    return nodes


def test_a_residual_sum_and_its_activation_belong_to_the_convolution():
    nodes = named(conv("x", "a", "w"), conv("a", "b", "w2"), node("Add", ["b", "a"], ["s"]),
                  node("Relu", ["s"], ["y"]))  # fmt: skip
    _, kernels = kernels_of(model(nodes, X, Y, W))
    assert groups(kernels) == [("n0",), ("n1", "n2", "n3")]
    assert [k.kind for k in kernels] == ["layout", "compute", "compute", "layout"]
    assert kernels[2].workload.op_types == ("Conv", "Add", "Relu")
    _, extended = kernels_of(model(nodes, X, Y, W), "extended")
    assert groups(extended) == [("n0",), ("n1",), ("n2",), ("n3",)]


def test_a_mobilenet_block_whose_sum_has_convolutions_on_both_sides():
    weights = {"e": random(64, 32, 1, 1), "d": random(64, 1, 3, 3), "p": random(32, 64, 1, 1),
               "lo": np.float32(0), "hi": np.float32(6)}  # fmt: skip

    def block(source, result, tag):
        return [
            node("Conv", [source, "e"], [f"{tag}1"], name=f"{tag}.expand"),
            node("Clip", [f"{tag}1", "lo", "hi"], [f"{tag}2"], name=f"{tag}.act1"),
            conv(f"{tag}2", f"{tag}3", "d", group=64, name=f"{tag}.depthwise"),
            node("Clip", [f"{tag}3", "lo", "hi"], [f"{tag}4"], name=f"{tag}.act2"),
            node("Conv", [f"{tag}4", "p"], [f"{tag}5"], name=f"{tag}.project"),
            node("Add", [source, f"{tag}5"], [result], name=f"{tag}.add"),
        ]

    first = conv("x", "s", "w", name="stem")
    nodes = [first, *block("s", "t", "a"), *block("t", "u", "b"), *block("u", "y", "c")]
    _, kernels = kernels_of(model(nodes, X, Y, {**weights, **W}))
    expected = [("stem",)]
    for tag in "abc":
        expected += [
            (f"{tag}.expand", f"{tag}.act1"),
            (f"{tag}.depthwise", f"{tag}.act2"),
            (f"{tag}.project", f"{tag}.add"),
        ]
    assert groups(kernels) == expected
    compute = [k.workload.key for k in kernels if k.kind == "compute"]
    assert compute[1:4] == compute[4:7] == compute[7:10]


def test_blocked_channels_are_described_without_their_padding():
    nodes = named(conv("x", "a", "w24"), conv("a", "y", "d", group=24))
    weights = {"w24": random(24, 32, 3, 3), "d": random(24, 1, 3, 3)}
    _, kernels = kernels_of(model(nodes, X, {"y": (1, 24, 28, 28)}, weights))
    wanted = [
        workload("Conv", [(1, 32, 28, 28), (24, 32, 3, 3)], {"pads": [1] * 4}),
        workload("Conv", [(1, 24, 28, 28), (24, 1, 3, 3)], {"pads": [1] * 4, "group": 24}),
    ]
    assert [k.workload for k in kernels if k.kind == "compute"] == wanted
    out = kernels[-1].workload.description
    assert out["op_types"] == ["ReorderOutput"] and out["outputs"][0]["shape"] == [1, 24, 28, 28]


def test_folded_merged_and_dead_operators_are_named_apart():
    nodes = named(
        node("Shape", ["x"], ["sh"]),
        node("Gather", ["sh", "zero"], ["n"]),
        node("Unsqueeze", ["n", "ax"], ["u"]),
        node("Concat", ["u", "rest"], ["to"], axis=0),
        conv("x", "a", "w"),
        conv("x", "b", "w"),
        node("Add", ["a", "b"], ["c"]),
        node("Sigmoid", ["a"], ["unused"]),
        node("Identity", ["c"], ["i"]),
        node("Reshape", ["i", "to"], ["y"]),
    )
    weights = {**W, "zero": np.int64(0), "ax": np.array([0]), "rest": np.array([-1])}
    proto = model(nodes, X, {"y": (1, 25088)}, weights)
    graph, kernels = kernels_of(proto)
    assert kernels.folded == ("n0", "n1", "n2", "n3")
    # ONNX Runtime computes what nobody reads; a runtime that does not has left it out.
    assert ("n7",) in groups(kernels) and not kernels.dead
    tidied = optimise(proto)
    left = [each for each in tidied.graph.node if each.op_type != "Sigmoid"]
    del tidied.graph.node[:]
    tidied.graph.node.extend(left)
    assert onnxruntime_kernels(graph, tidied).dead == ("n7",)
    assert len(kernels.merged) == 1 and kernels.merged[0] in ("n4", "n5")
    assert sum("Conv" in k.operators for k in kernels) == 1


def test_unnamed_operators_are_called_as_the_profile_calls_them():
    constant = node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(W["w"]))
    nodes = [constant, conv("x", "a", "w"), node("Elu", ["a"], ["b"]), node("Sin", ["b"], ["y"])]
    proto = model(nodes, X, Y, {})
    for level in ("all", "basic"):
        optimised, profile = profiled(proto, level)
        kernels = onnxruntime_kernels(read(proto), optimised)
        assert [k.runtime_node for k in kernels] == [name for name, _ in profile]
        assert [k.runtime_op for k in kernels] == [op for _, op in profile]


def test_operators_that_the_runtime_takes_apart():
    nodes = named(
        node("Flatten", ["x"], ["f"]), node("HardSwish", ["f"], ["h"]), node("Mish", ["h"], ["m"]),
        node("Celu", ["m"], ["y"]),
    )  # fmt: skip
    proto = model(nodes, {"x": (1, 4, 2, 2)}, {"y": (1, 16)}, {}, opset=18)
    optimised, profile = profiled(proto)
    graph = read(proto)
    kernels = onnxruntime_kernels(graph, optimised)
    check_complete(graph, kernels)
    assert len(kernels) > len(nodes)
    assert [k.runtime_node for k in kernels.named_by(profile)] == [name for name, _ in profile]
    # A part of an operator runs nothing by itself: the kernel that ends it has its name.
    assert {name for k in kernels for name in k.nodes} == {"n0", "n1", "n2", "n3"}


def test_names_follow_the_profile_of_the_session_that_saved_the_graph():
    # Squeeze and excite: several reorders, which ONNX Runtime numbers anew in each session.
    nodes = named(
        conv("x", "a", "w"), node("GlobalAveragePool", ["a"], ["p"]), node("Conv", ["p", "f"], ["q"]),
        node("Relu", ["q"], ["r"]), node("Conv", ["r", "g"], ["s"]), node("HardSigmoid", ["s"], ["t"]),
        node("Mul", ["a", "t"], ["y"]),
    )  # fmt: skip
    proto = model(nodes, X, Y, {**W, "f": random(8, 32, 1, 1), "g": random(32, 8, 1, 1)})
    optimised, profile = profiled(proto)
    kernels = onnxruntime_kernels(read(proto), optimised)
    assert [k.runtime_node for k in kernels] == [name for name, _ in profile]
    renamed = [
        (f"{op}_x{i}" if op.startswith("Reorder") else n, op) for i, (n, op) in enumerate(profile)
    ]
    assert [k.runtime_node for k in kernels.named_by(renamed)] == [name for name, _ in renamed]
    # Of another session only the set is known; nodes that keep their names keep them.
    other = renamed[::-1]
    matched = {k.runtime_node for k in kernels.named_by(other)}
    assert matched == {name for name, _ in renamed}


def test_float16_runs_in_float32_between_inserted_casts():
    nodes = named(conv("x", "a", "w"), node("Relu", ["a"], ["y"]))
    proto = model(nodes, X, Y, {"w": W["w"].astype(np.float16)}, dtype=TensorProto.FLOAT16)
    _, kernels = kernels_of(proto)
    wanted = workload(["Conv", "Relu"], [(1, 32, 28, 28), (32, 32, 3, 3)], {"pads": [1] * 4})
    compute = [k for k in kernels if k.kind == "compute"]
    assert [k.workload for k in compute] == [wanted]
    assert [k.workload.op_types for k in kernels if k.runtime_op == "Cast"] == [("Cast",)] * 2


def test_a_transpose_that_a_reorder_does_along_the_way_keeps_its_operator():
    nodes = named(conv("x", "a", "w"), node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
                  node("Softmax", ["t"], ["y"], axis=-1))  # fmt: skip
    _, kernels = kernels_of(model(nodes, X, {"y": (1, 28, 28, 32)}, W))
    carrier = next(k for k in kernels if k.nodes == ("n1",))
    assert carrier.kind == "layout" and carrier.runtime_op == "ReorderOutput"


def test_control_flow_is_one_kernel_and_a_fixed_branch_is_none():
    def branch(name, nodes):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, F, X["x"])])

    then = branch("t", [node("Relu", ["x"], ["t"], name="inner")])
    other = branch("e", [conv("x", "e", "w", name="inner conv")])

    def choose(weights, *before):
        last = [node("If", ["c"], ["z"], then_branch=then, else_branch=other, name="choice"),
                node("Sin", ["z"], ["y"], name="after")]  # fmt: skip
        return model([*before, *last], X, Y, {**W, **weights})

    dynamic = choose({"k": np.float32(0)},
                     node("ReduceSum", ["x"], ["r"], keepdims=0, name="sum"),
                     node("Greater", ["r", "k"], ["c"], name="greater"))  # fmt: skip
    _, kernels = kernels_of(dynamic)
    assert groups(kernels) == [("sum",), ("greater",), ("choice",), ("after",)]
    assert kernels[2].workload.key in keys_alone(kernels[2].workload)
    _, fixed = kernels_of(choose({"c": np.array(False)}))
    assert groups(fixed)[0] == ("choice",)  # the branch's convolution runs in its stead
    assert fixed[1].runtime_op == "Conv"


def test_a_sum_fused_as_other_processors_do():
    """On aarch64 FusedConv takes the sum as a fourth input; written by hand here."""
    nodes = named(conv("x", "a", "w"), conv("a", "b", "w2"), node("Add", ["a", "b"], ["s"]),
                  node("Relu", ["s"], ["y"]))  # fmt: skip
    proto = model(nodes, X, Y, W)
    fused = node("FusedConv", ["a", "w2", "", "a"], ["y"], name="n1", domain="com.microsoft",
                 activation="Relu", pads=[1] * 4, kernel_shape=[3, 3])  # fmt: skip
    graph = read(proto)
    kernels = onnxruntime_kernels(graph, model([nodes[0], fused], X, Y, W))
    check_complete(graph, kernels)
    assert groups(kernels) == [("n0",), ("n1", "n2", "n3")]
    _, here = kernels_of(proto)
    assert kernels[1].workload == here[2].workload


def test_what_another_runtime_fused_has_the_same_key():
    norm = {n: np.abs(random(32, seed=i)) + 1 for i, n in enumerate(("s", "b", "m", "v"))}
    nodes = named(
        conv("x", "a", "w"), node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"]),
        conv("n", "c", "w2"), node("Add", ["c", "n"], ["d"]), node("Relu", ["d"], ["y"]),
    )  # fmt: skip
    graph, kernels = kernels_of(model(nodes, X, Y, {**W, **norm}))
    for kernel in kernels:
        if kernel.kind == "compute":
            assert operators_workload(graph, kernel.nodes) == kernel.workload


def test_a_graph_that_is_not_in_order_is_refused():
    nodes = named(conv("x", "a", "w"), node("Relu", ["a"], ["y"]))
    proto = model(nodes, X, Y, W)
    broken = optimise(proto, "basic")
    broken.graph.node.reverse()
    with pytest.raises(DeviceError, match="not in order"):
        onnxruntime_kernels(read(proto), broken)


def test_large_weights_are_never_read():
    nodes = named(conv("x", "a", "w"), node("Relu", ["a"], ["y"]))
    proto = model(nodes, X, Y, W)
    optimised = optimise(proto)
    expected = [k.workload for k in onnxruntime_kernels(read(proto), optimised)]
    for tensor in optimised.graph.initializer:
        tensor.ClearField("raw_data")
    assert [k.workload for k in onnxruntime_kernels(read(proto), optimised)] == expected
