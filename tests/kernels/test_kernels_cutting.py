"""Single-kernel models: the runtime makes the same kernel of them, once or many times."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from kernel_world import conv, kernels_of, keys_alone, model, node, random, run

from lwprof.errors import ModelError, UsageError
from lwprof.profiler.kernels import workload

SAME = {"pads": [1, 1, 1, 1]}
X, KERNEL = (1, 32, 14, 14), (32, 32, 3, 3)

ALONE = [
    workload("Conv", [X, KERNEL], SAME),
    workload("Conv", [X, (32, 1, 3, 3)], {**SAME, "group": 32}),
    workload("Conv", [(1, 30, 9, 9), (14, 30, 1, 1)], {"strides": [2, 2]}),
    workload("ConvTranspose", [X, (32, 16, 2, 2)], {"strides": [2, 2]}),
    workload(["Conv", "Relu"], [X, KERNEL], SAME),
    workload(["Conv", "Clip"], [X, KERNEL], SAME),
    workload(["Conv", "HardSigmoid"], [X, KERNEL], SAME),
    workload(["Conv", "LeakyRelu"], [X, KERNEL], SAME),
    workload(["Conv", "Add"], [X, KERNEL, X], SAME),
    workload(["Conv", "Add", "Relu"], [X, KERNEL, X], SAME),
    workload(["Conv", "HardSwish"], [X, KERNEL], SAME),
    workload("com.microsoft.QuickGelu", [X], {"alpha": 1.0}),
    workload("com.microsoft.QuickGelu", [X], {"alpha": 1.702}),
    workload("com.microsoft.Gelu", [X]),
    workload("com.microsoft.FusedMatMul", [(2, 8, 4), (2, 16, 4)], {"transB": 1, "alpha": 0.5}),
    workload("Gemm", [(4, 64), (10, 64)], {"transB": 1}),
    workload("MatMul", [(2, 8, 16), (2, 16, 8)]),
    workload("LSTM", [(5, 1, 8), (1, 64, 8), (1, 64, 16), (1, 128)]),
    workload("LayerNormalization", [(2, 8, 64), (64,), (64,)]),
    workload("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
    workload("AveragePool", [X], {"kernel_shape": [3, 3], "count_include_pad": 1, **SAME}),
    workload("Softmax", [(1, 1000)]),
    workload("Split", [(1, 32, 4, 4)], {"axis": 1, "num_outputs": 2}),
    workload("Pad", [(1, 2, 3), (6,)], constant={1: [0, 0, 1, 0, 0, 1]}),
    workload("Gather", [(100, 16), (1, 7)], dtype=["float32", "int64"], constant=[True, False]),
    workload("TopK", [(1, 50), (1,)], constant={1: [5]}),
    workload("Cast", [(4, 4)], {"to": 10}),
    workload("Expand", [(1, 4), (2,)], constant={1: [8, 4]}),
    workload("Tile", [(2, 4), (2,)], constant={1: [3, 1]}),
    workload("ReduceMean", [(1, 8, 4, 4), (2,)], {"keepdims": 0}, constant={1: [2, 3]}),
    workload("QuantizeLinear", [(1, 8, 4, 4), (), ()], dtype=["float32", "float32", "uint8"]),
    workload(
        "QLinearConv",
        [(1, 16, 8, 8), (), (), (16, 16, 3, 3), (16,), (16,), (), ()],
        SAME,
        ["uint8", "float32", "uint8", "int8", "float32", "int8", "float32", "uint8"],
    ),
    workload("DynamicQuantizeLinear", [(4, 8)]),
]


@pytest.mark.parametrize("kernel", ALONE, ids=str)
def test_alone_the_runtime_makes_the_same_kernel(kernel):
    assert keys_alone(kernel).count(kernel.key) == 1
    assert all(np.isfinite(value).all() for value in run_floats(kernel.to_model()))


def run_floats(proto):
    if any(i.type.tensor_type.elem_type not in (1, 10) for i in proto.graph.input):
        return []
    return [value for value in run(proto) if value.dtype.kind == "f"]


@pytest.mark.parametrize("kernel", ALONE[:9] + ALONE[15:16], ids=str)
@pytest.mark.parametrize("sink", [False, True])
def test_copies_stay_copies(kernel, sink):
    _, kernels = kernels_of(kernel.to_model(copies=4, sink=sink))
    assert [k.workload.key for k in kernels].count(kernel.key) == 4


@pytest.mark.parametrize(
    "kernel", [k for k in ALONE if k.chainable and k.op_types[0] in ("Conv", "Softmax")], ids=str
)
def test_a_chain_pays_for_its_ends_once(kernel):
    one, many = (kernels_of(kernel.to_model(copies=n, topology="chain"))[1] for n in (2, 7))
    assert [k.workload.key for k in many].count(kernel.key) == 7
    others = [[k.runtime_op for k in kernels if k.workload.key != kernel.key] for kernels in (one, many)]  # fmt: skip
    assert sorted(others[0]) == sorted(others[1])


def test_weights_are_seeded_distinct_and_never_denormal():
    kernel = workload("Conv", [X, KERNEL], SAME)
    one, same, other = (kernel.to_model(copies=2, seed=s) for s in (1, 1, 2))
    assert one.SerializeToString(deterministic=True) == same.SerializeToString(deterministic=True)
    assert one != other
    weights = [onnx.numpy_helper.to_array(t) for t in one.graph.initializer if len(t.dims) == 4]
    assert len(weights) == 2 and not np.array_equal(*weights)
    half = workload("Gemm", [(4, 64), (64, 64)], dtype="float16").to_model()
    for proto in (one, half):
        for tensor in proto.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            assert np.isfinite(values).all()
            assert (np.abs(values) >= np.finfo(values.dtype).tiny).all()


def test_a_long_chain_neither_explodes_nor_vanishes():
    kernel = workload(["Conv", "Relu"], [X, KERNEL], SAME)
    (result,) = run(kernel.to_model(copies=20, topology="chain"))
    used = np.abs(result[result != 0])
    assert 1e-20 < used.max() < 1e6


def test_the_model_suits_old_runtimes():
    for kernel in ALONE:
        proto = kernel.to_model()
        assert proto.ir_version == 8
        assert proto.opset_import[0].version <= (20 if "Gelu" in kernel.op_types else 17)


def test_an_operator_younger_than_the_reference_opset_brings_its_own():
    assert workload("GroupNormalization", [(1, 8, 4, 4), (8,), (8,)], {"num_groups": 2}
                    ).to_model().opset_import[0].version >= 18  # fmt: skip
    antialiased = workload("Resize", [(1, 2, 8, 8), None, (4,)], {"mode": "linear", "antialias": 1},
                           constant={2: [1.0, 1.0, 0.5, 0.5]})  # fmt: skip
    assert antialiased.to_model().opset_import[0].version == 18


def test_what_cannot_be_cut_out_says_why():
    kernel = workload("Conv", [X, (8, 32, 3, 3)])
    with pytest.raises(ModelError, match="cannot be chained"):
        kernel.to_model(topology="chain")
    assert not kernel.chainable
    with pytest.raises(UsageError, match="0 copies"):
        kernel.to_model(copies=0)
    with pytest.raises(UsageError, match="topology"):
        kernel.to_model(topology="ring")
    with pytest.raises(ModelError, match="GiB of weights"):
        workload("Gemm", [(1, 25088), (25088, 4096)]).to_model(copies=9)
    with pytest.raises(ModelError, match="reads nothing that changes"):
        workload("Shape", [(1, 2)]).to_model()
    proto = model([conv("x", "a", "w"), node("NonZero", ["a"], ["n"]), node("Cast", ["n"], ["y"], to=1)],
                  {"x": X}, {"y": (4, "n")}, {"w": random(*KERNEL)})  # fmt: skip
    last = kernels_of(proto)[1][-1]
    with pytest.raises(ModelError, match="unknown shape"):
        last.workload.to_model()
