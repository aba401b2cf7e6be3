"""Equal work has equal keys, different work has different ones."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from kernel_world import conv, kernels_of, model, node, random
from onnx import TensorProto, helper

from lwprof.errors import LwprofError, UsageError
from lwprof.profiler.kernels import Workload, workload

CONV = workload(
    "Conv",
    inputs=[(1, 64, 56, 56), (128, 64, 3, 3)],
    attributes={"pads": [1, 1, 1, 1]},
    dtype="float32",
)


def keys(proto, level="all"):
    return [k.workload.key for k in kernels_of(proto, level)[1]]


def test_a_convolution_written_down_has_the_key_of_the_same_in_a_model():
    weights = {"w": random(128, 64, 3, 3), "b": random(128)}
    bare = node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    biased = node("Conv", ["x", "w", "b"], ["y"], auto_pad="SAME_UPPER", kernel_shape=[3, 3])
    for nodes in ([bare], [biased]):
        proto = model(nodes, {"x": (1, 64, 56, 56)}, {"y": (1, 128, 56, 56)}, weights)
        for level in ("all", "extended", "basic", "none"):
            assert CONV.key in keys(proto, level)


def test_the_forms_of_a_fused_convolution_are_one_workload():
    wanted = workload(["Conv", "Relu"], [(1, 32, 28, 28), (32, 32, 3, 3)], {"pads": [1] * 4})
    norm = {n: np.abs(random(32, seed=i)) + 1 for i, n in enumerate(("s", "b", "m", "v"))}
    weights = {"w": random(32, 32, 3, 3), **norm}
    folded = [
        conv("x", "a", "w"),
        node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"]),
        node("Relu", ["n"], ["y"]),
    ]
    plain = [conv("x", "a", "w"), node("Relu", ["a"], ["y"])]
    fused = node(
        "FusedConv", ["x", "w", "b"], ["y"], domain="com.microsoft", activation="Relu",
        pads=[1, 1, 1, 1], kernel_shape=[3, 3],
    )  # fmt: skip
    for nodes in (folded, plain, [fused]):
        proto = model(nodes, {"x": (1, 32, 28, 28)}, {"y": (1, 32, 28, 28)}, weights)
        for level in ("all", "extended"):
            assert wanted.key in keys(proto, level)
    # Unfused, they are two kernels.
    basic = keys(model(plain, {"x": (1, 32, 28, 28)}, {"y": (1, 32, 28, 28)}, weights), "basic")
    assert wanted.key not in basic and len(basic) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": [(2, 64, 56, 56), (128, 64, 3, 3)]},
        {"inputs": [(1, 64, 56, 56), (64, 64, 3, 3)]},
        {"attributes": {}},
        {"attributes": {"pads": [1, 1, 1, 1], "strides": [2, 2]}},
        {"attributes": {"pads": [1, 1, 1, 1], "dilations": [2, 2]}},
        {"dtype": "float64"},
        {"constant": [False, False]},
        {"op": ["Conv", "Relu"]},
    ],
)
def test_other_work_has_another_key(other):
    given = {
        "op": "Conv",
        "inputs": [(1, 64, 56, 56), (128, 64, 3, 3)],
        "attributes": {"pads": [1, 1, 1, 1]},
        "dtype": "float32",
        **other,
    }
    assert workload(**given).key != CONV.key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        # Parameters as inputs, as attributes, negative, spelled out or left to a default.
        (("Softmax", [(2, 10)], {"axis": -1}), ("Softmax", [(2, 10)], {"axis": 1})),
        (("Softmax", [(2, 10)], {}), ("Softmax", [(2, 10)], {"axis": 1})),
        (("Transpose", [(2, 3, 4)], {}), ("Transpose", [(2, 3, 4)], {"perm": [2, 1, 0]})),
        (("Gemm", [(4, 8), (8, 5)], {}), ("Gemm", [(4, 8), (8, 5), (5,)], {"alpha": 0.5})),
        (("LeakyRelu", [(4,)], {"alpha": 0.1}), ("LeakyRelu", [(4,)], {"alpha": 0.3})),
        (("Add", [(1, 8, 4, 4), (8, 1, 1)], {}), ("Add", [(8, 1, 1), (1, 8, 4, 4)], {})),
        (("Clip", [(4, 4)], {}), ("Clip", [(4, 4), (), ()], {})),
        (
            ("MaxPool", [(1, 8, 8, 8)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            (
                "MaxPool",
                [(1, 8, 8, 8)],
                {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "storage_order": 0},
            ),
        ),
        (
            ("AveragePool", [(1, 8, 8, 8)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
            ("AveragePool", [(1, 8, 8, 8)], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
        ),
        (
            ("Einsum", [(2, 3), (3, 4)], {"equation": "ij,jk->ik"}),
            ("Einsum", [(2, 3), (3, 4)], {"equation": "ab, bc -> ac"}),
        ),
    ],
)
def test_spellings_of_one_operator_are_one_workload(one, two):
    assert workload(*one).key == workload(*two).key


def test_parameters_count_by_what_they_do_not_by_how_they_are_given():
    def cut(shape, starts, ends, axes):
        one = (len(starts),)
        values = {1: starts, 2: ends, 3: axes}
        return workload("Slice", [shape, one, one, one], constant=values)

    assert cut((1, 8, 9), [1], [-1], [-1]).key == cut((1, 8, 9), [1, 0], [8, 99], [2, 1]).key
    assert cut((1, 8, 9), [1], [-1], [-1]).key != cut((1, 8, 9), [1], [-2], [-1]).key

    def shaped(values):
        return workload("Reshape", [(1, 8, 2, 2), (len(values),)], constant={1: values})

    assert shaped([1, 32]).key == shaped([0, -1]).key == shaped([-1, 32]).key
    assert shaped([1, 32]).key != shaped([32, 1]).key

    square = workload("Pow", [(8, 8), ()], constant={1: 2.0})
    assert square.key != workload("Pow", [(8, 8), ()], constant={1: 3.0}).key
    old = workload("ReduceMean", [(2, 3, 4)], {"axes": [-1], "keepdims": 0}, opset=13)
    new = workload("ReduceMean", [(2, 3, 4), (1,)], {"keepdims": 0}, constant={1: [2]}, opset=18)
    assert old.key == new.key


def test_an_old_softmax_over_several_axes_is_the_matrix_softmax_it_means():
    old = workload("Softmax", [(2, 3, 4)], {"axis": 1}, opset=11)
    assert old.key == workload("Softmax", [(2, 12)], opset=13).key
    assert old.key != workload("Softmax", [(2, 3, 4)], {"axis": 1}, opset=13).key
    # On the last axis the two meanings are one.
    last = workload("Softmax", [(2, 3, 4)], {"axis": 2}, opset=11)
    assert last.key == workload("Softmax", [(2, 3, 4)], opset=13).key


def test_an_old_upsample_is_a_resize():
    scales = [1.0, 1.0, 2.0, 2.0]
    old = workload("Upsample", [(1, 8, 4, 4), (4,)], {"mode": "nearest"}, constant={1: scales}, opset=9)  # fmt: skip
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    new = workload("Resize", [(1, 8, 4, 4), None, (4,)], attributes, constant={2: scales})
    assert old.key == new.key


def test_a_description_is_free_of_names_and_weights():
    nodes = [
        conv("secret_in", "secret_mid", "secret_w", name="secret_node"),
        node("Relu", ["secret_mid"], ["secret_out"], name="secret_relu"),
    ]
    proto = model(
        nodes, {"secret_in": (1, 32, 8, 8)}, {"secret_out": (1, 32, 8, 8)},
        {"secret_w": random(32, 32, 3, 3)},
    )  # fmt: skip
    for kernel in kernels_of(proto)[1]:
        assert "secret" not in kernel.workload.canonical
        assert len(kernel.workload.canonical) < 1000


def test_the_key_is_the_same_in_another_process():
    code = (
        "from lwprof.profiler.kernels import workload;"
        "print(workload('Conv', inputs=[(1, 64, 56, 56), (128, 64, 3, 3)],"
        " attributes={'pads': [1, 1, 1, 1]}).key)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77"},
    )  # fmt: skip
    assert out.stdout.strip() == CONV.key
    # Stored tables live by this: a change of the form is a change of the prefix.
    assert CONV.key == "w1:be73a24c9b6b070279ceb115aefebac87e69f2d9bc4993d2b58d3d8681307473"


def test_the_description_survives_json_and_verifies_its_key():
    text = json.dumps(CONV.description)
    assert Workload.from_description(json.loads(text), CONV.key) == CONV
    changed = CONV.description
    changed["inputs"][0]["shape"][0] = 2
    assert Workload.from_description(changed).key != CONV.key
    with pytest.raises(UsageError, match="does not have the key"):
        Workload.from_description(changed, CONV.key)


@pytest.mark.parametrize(
    "call",
    [
        lambda: workload("Convolve", [(1, 3, 4, 4)]),
        lambda: workload("Conv", [(1, 3, 4, 4), (4, 5, 3, 3)]),
        lambda: workload("MatMul", [(2, 3), (4, 5)]),
        lambda: workload("Conv", [(1, 3, 4, 4), (4, 3, 3, 3)], {"stride": [1, 1]}),
        lambda: workload("Conv", [(1, 3, -4, 4), (4, 3, 3, 3)]),
        lambda: workload("Relu", [(1, 3)], dtype="float33"),
        lambda: workload([], [(1, 3)]),
        lambda: workload("Reshape", [(1, 8), (2,)], constant={1: [1, 2, 3]}),
        lambda: workload(["Conv", "Relu"], [(1, 3, 4, 4), (4, 3, 3, 3)], [{}, {}, {}]),
    ],
)
def test_what_cannot_be_a_workload_is_refused_in_one_line(call):
    with pytest.raises(LwprofError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_bodies_are_described_without_names():
    def loop(name):
        body = helper.make_graph(
            [
                node("Identity", [f"{name}c"], [f"{name}d"]),
                node("Add", [f"{name}s", f"{name}x"], [f"{name}t"]),
            ],
            f"{name}b",
            [
                helper.make_tensor_value_info(f"{name}i", TensorProto.INT64, ()),
                helper.make_tensor_value_info(f"{name}c", TensorProto.BOOL, ()),
                helper.make_tensor_value_info(f"{name}s", TensorProto.FLOAT, (4,)),
            ],
            [
                helper.make_tensor_value_info(f"{name}d", TensorProto.BOOL, ()),
                helper.make_tensor_value_info(f"{name}t", TensorProto.FLOAT, (4,)),
            ],
        )
        nodes = [
            node("Relu", [f"{name}in"], [f"{name}x"]),
            node("Loop", [f"{name}m", "", f"{name}x"], [f"{name}y"], body=body),
        ]
        return model(nodes, {f"{name}in": (4,)}, {f"{name}y": (4,)}, {f"{name}m": np.int64(3)})

    one, two = kernels_of(loop("a"))[1], kernels_of(loop("zz_"))[1]
    assert [k.workload.key for k in one] == [k.workload.key for k in two]
    assert [k.operators for k in one] == [("Relu",), ("Loop",)]
    assert "zz_" not in two[1].workload.canonical
