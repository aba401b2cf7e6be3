"""Real networks: the nine that ship with onnx, a transformer block, int8 models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from kernel_world import (
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

from lwprof.profiler.graph import materialise, read
from lwprof.profiler.kernels import onnxruntime_kernels, operators_workload

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50",
            "shufflenet", "squeezenet", "vgg19", "zfnet512"]  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_of_a_real_network_is_in_one_kernel(name):
    graph = materialise(read(LIGHT / f"light_{name}.onnx"))
    large = graph.params > 50e6  # hundreds of megabytes of weights: one level will do
    for level in ("all",) if large else ("all", "extended"):
        kernels = onnxruntime_kernels(graph, optimise(graph.proto, level))
        check_complete(graph, kernels)
        assert not kernels.dead and not kernels.merged
        for kernel in kernels:
            assert kernel.nodes or kernel.kind == "layout"
            assert "null" not in kernel.workload.canonical  # every shape is known
        heavy = {o.name for o in graph.operators if o.type in ("Conv", "Gemm")}
        assert heavy == {n for k in kernels for n in k.nodes if n in heavy}


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "resnet50"])
def test_kernels_bear_the_names_of_the_profile(name):
    graph = materialise(read(LIGHT / f"light_{name}.onnx"))
    for level in ("all", "extended"):
        optimised, profile = profiled(graph.proto, level)
        kernels = onnxruntime_kernels(graph, optimised)
        assert [(k.runtime_node, k.runtime_op) for k in kernels] == profile


def test_resnet50_is_its_53_convolutions_two_pools_and_the_classifier():
    graph = materialise(read(LIGHT / "light_resnet50.onnx"))
    kernels = onnxruntime_kernels(graph, optimise(graph.proto))
    kinds = ["+".join(k.workload.op_types) for k in kernels if k.kind == "compute"]
    assert len([k for k in kinds if k.startswith("Conv")]) == 53
    assert kinds.count("Conv+Add+Relu") == 16  # one residual sum per block
    assert kinds.count("Conv") == 4  # the projections
    fused = {k.workload.key for k in kernels if "Conv" in k.operators}
    # The stem; 5 in the first stage; 6 in each other, whose first block strides.
    assert len(fused) == 1 + 5 + 3 * 6
    for kernel in kernels:
        if kernel.workload.op_types[0] == "Conv":
            assert operators_workload(graph, kernel.nodes) == kernel.workload


def test_kernels_of_a_network_can_be_cut_out_of_it():
    graph = materialise(read(LIGHT / "light_shufflenet.onnx"))
    kernels = onnxruntime_kernels(graph, optimise(graph.proto))
    different = {k.workload.key: k.workload for k in kernels}
    for key, each in list(different.items())[::3]:
        assert key in keys_alone(each), str(each)


def transformer_block():
    width = 32
    weights = {n: random(width, width, seed=i) for i, n in enumerate(("wq", "wk", "wv", "wo"))}
    weights |= {n: random(width, seed=i) for i, n in enumerate(("bq", "bo", "g", "b"))}
    weights |= {"heads": np.array([0, 0, 2, 16]), "joined": np.array([0, 0, width]),
                "scale": np.float32(4), "root": np.float32(2**0.5), "one": np.float32(1),
                "half": np.float32(0.5)}  # fmt: skip
    nodes = []

    def head(name, perm):
        nodes.extend([node("MatMul", ["x", f"w{name}"], [f"{name}0"]),
                      node("Reshape", [f"{name}0", "heads"], [f"{name}1"]),
                      node("Transpose", [f"{name}1"], [name], perm=perm)])  # fmt: skip

    head("q", [0, 2, 1, 3])
    head("k", [0, 2, 3, 1])
    head("v", [0, 2, 1, 3])
    for op, inputs, result, more in (
        ("MatMul", ["q", "k"], "s", {}), ("Div", ["s", "scale"], "t", {}),
        ("Softmax", ["t"], "p", {"axis": -1}), ("MatMul", ["p", "v"], "o", {}),
        ("Transpose", ["o"], "o1", {"perm": [0, 2, 1, 3]}), ("Reshape", ["o1", "joined"], "o2", {}),
        ("MatMul", ["o2", "wo"], "o3", {}), ("Add", ["o3", "bo"], "o4", {}),
        ("Add", ["o4", "x"], "r", {}), ("LayerNormalization", ["r", "g", "b"], "l", {"axis": -1}),
        ("Div", ["l", "root"], "e0", {}), ("Erf", ["e0"], "e1", {}),
        ("Add", ["e1", "one"], "e2", {}), ("Mul", ["l", "e2"], "e3", {}),
        ("Mul", ["e3", "half"], "y", {}),
    ):  # fmt: skip
        nodes.append(node(op, inputs, [result], **more))
    return model(nodes, {"x": (1, 6, width)}, {"y": (1, 6, width)}, weights)


@pytest.mark.parametrize("level", ["all", "basic"])
def test_a_transformer_block(level):
    _, kernels = kernels_of(transformer_block(), level)
    for each in {k.workload.key: k.workload for k in kernels}.values():
        assert each.key in keys_alone(each, level), str(each)
    if level == "all":
        gelu = next(k for k in kernels if "Erf" in k.operators)
        assert gelu.operators == ("Div", "Erf", "Add", "Mul", "Mul")
        assert gelu.workload.op_types == ("Gelu",)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """Small networks in int8: with QDQ pairs, as integer operators, and dynamically."""
    folder = tmp_path_factory.mktemp("quantised")
    nodes = [
        conv("x", "a", "w", name="c1"), node("Relu", ["a"], ["b"], name="r1"),
        conv("b", "c", "d", group=16, name="c2"), node("Add", ["c", "x"], ["e"], name="add"),
        node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        node("GlobalAveragePool", ["f"], ["g"], name="mean"), node("Flatten", ["g"], ["h"], name="flat"),
        node("Gemm", ["h", "m", "n"], ["y"], transB=1, name="fc"),
    ]  # fmt: skip
    weights = {"w": random(16, 16, 3, 3), "d": random(16, 1, 3, 3), "m": random(5, 16), "n": random(5)}  # fmt: skip
    onnx.save(model(nodes, {"x": (1, 16, 8, 8)}, {"y": (1, 5)}, weights), folder / "static.onnx")
    layers = [
        node("MatMul", ["x", "w"], ["a"], name="mm"),
        node("Add", ["a", "b"], ["y"], name="ad"),
    ]
    layer = model(layers, {"x": (8, 32)}, {"y": (8, 10)}, {"w": random(32, 10), "b": random(10)})
    onnx.save(layer, folder / "layer.onnx")
    # Apart, because the quantiser wants the process's registry of operators untouched.
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUANTISER, str(folder)],
        check=True, capture_output=True,
    )  # fmt: skip
    return {name: onnx.load(folder / f"{name}.q.onnx") for name in ("qdq", "operators", "dynamic")}


QUANTISER = """
import sys
from pathlib import Path
import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static,
)

folder = Path(sys.argv[1])

class Reader(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.left = iter([{"x": rng.standard_normal((1, 16, 8, 8)).astype(np.float32)}] * 2)

    def get_next(self):
        return next(self.left, None)

for name, form in (("qdq", QuantFormat.QDQ), ("operators", QuantFormat.QOperator)):
    quantize_static(
        folder / "static.onnx", folder / f"{name}.q.onnx", Reader(), quant_format=form,
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )
quantize_dynamic(folder / "layer.onnx", folder / "dynamic.q.onnx")
"""


@pytest.mark.parametrize("name", ["qdq", "operators", "dynamic"])
@pytest.mark.parametrize("level", ["all", "extended"])
def test_int8_kernels_are_found_and_can_be_cut_out(quantised, name, level):
    _, kernels = kernels_of(quantised[name], level)
    assert not kernels.folded and not kernels.dead
    for each in {k.workload.key: k.workload for k in kernels}.values():
        assert each.key in keys_alone(each, level), str(each)


def test_a_quantised_convolution_has_its_scales_and_one_key_in_both_forms(quantised):
    def convolutions(name, level):
        found = kernels_of(quantised[name], level)[1]
        return [k for k in found if k.workload.op_types == ("QLinearConv",)]

    pairs, integer = convolutions("qdq", "all"), convolutions("operators", "all")
    # The channels-last form of level ALL is the same work as the plain one.
    plain = convolutions("qdq", "extended")
    assert (
        [k.workload for k in pairs] == [k.workload for k in integer] == [k.workload for k in plain]
    )
    assert len(pairs) == 2
    first = next(k for k in pairs if "c1" in k.nodes)
    assert set(first.operators) == {"DequantizeLinear", "Conv", "QuantizeLinear"} | (
        {"Relu"} if "Relu" in first.operators else set()
    )
