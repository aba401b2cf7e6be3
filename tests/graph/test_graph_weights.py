"""Generated weights written out: finite, ordinary, and all different."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from lwprof.errors import ModelError
from lwprof.profiler.graph import materialise, read


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "resnet50"])
def test_every_activation_is_finite_and_none_is_denormal(light_folder, name):
    graph = materialise(read(light_folder / f"light_{name}.onnx"))
    model = onnx.ModelProto.FromString(graph.proto.SerializeToString())
    names = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.output[0] not in names and node.op_type in ("Conv", "Relu", "Gemm", "Sum"):
            model.graph.output.add(name=node.output[0]).type.tensor_type.elem_type = 1
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rng = np.random.default_rng(0)
    feeds = {t.name: rng.standard_normal(t.shape, dtype=np.float32) for t in graph.inputs}
    tiny = np.finfo(np.float32).tiny
    for value in session.run(None, feeds):
        size = np.abs(value)
        assert np.isfinite(value).all()
        assert not ((size > 0) & (size < tiny)).any()
        assert size.max() > 1e-6


def test_the_runtime_keeps_every_convolution(light_folder, tmp_path):
    graph = materialise(read(light_folder / "light_squeezenet.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "opt.onnx")
    onnxruntime.InferenceSession(graph.proto.SerializeToString(), options)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "opt.onnx").graph.node)
    assert kinds["Conv"] + kinds["FusedConv"] == 26


def test_costs_names_and_shapes_stay(light_folder):
    before = read(light_folder / "light_shufflenet.onnx")
    after = materialise(before)
    assert (after.macs, after.params, after.sha256) == (before.macs, before.params, before.sha256)
    assert after.key != before.key
    assert after.generated == ()
    kept = [o for o in before.operators if o.type != "ConstantOfShape"]
    assert [o.name for o in after.operators] == [o.name for o in kept]
    assert [node.name for node in after.proto.graph.node] == [o.name for o in after.operators]
    assert read(after.proto).params == before.params
    assert materialise(after) is after


def test_the_same_seed_gives_the_same_weights(light_folder):
    graph = read(light_folder / "light_squeezenet.onnx")
    first, again, other = (
        materialise(graph, seed).proto.SerializeToString(deterministic=True) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_scales_follow_the_role(graph_of):
    body = (
        "w = ConstantOfShape<value = float[1] {0.02}>(sw)\n"
        "b = ConstantOfShape<value = float[1] {0.02}>(sb)\n"
        "v = ConstantOfShape<value = float[1] {0.02}>(sb)\n"
        "a = Conv(x, w, b)\n"
        "y = BatchNormalization(a, v, v, v, v)"
    )
    graph = graph_of("(float[1,50,8,8] x) => (float[1,400,6,6] y)", body,
                     weights="<int64[4] sw = {400,50,3,3}, int64[1] sb = {400}>")  # fmt: skip
    stored = {t.name: numpy_helper.to_array(t) for t in materialise(graph).proto.graph.initializer}
    assert stored["w"].std() == pytest.approx(np.sqrt(2 / 450), rel=0.05)
    assert abs(stored["w"].mean()) < 0.001
    assert stored["b"].std() == pytest.approx(0.1, rel=0.2)
    assert stored["v"].min() > 0
    assert "sw" not in stored


def test_a_model_protobuf_comes_back_as_one(light_folder):
    model = onnx.load(light_folder / "light_squeezenet.onnx")
    assert isinstance(materialise(model), onnx.ModelProto)


def test_an_ordinary_model_is_returned_as_it_is(graph_of):
    graph = graph_of("(float[2] x) => (float[2] y)", "y = Relu(x)")
    assert materialise(graph) is graph


def test_more_than_a_protobuf_holds_is_refused(graph_of):
    body = "w = ConstantOfShape<value = float[1] {0.02}>(s)\ny = MatMul(x, w)"
    graph = graph_of("(float[1,20000] x) => (float[1,40000] y)", body,
                     weights="<int64[2] s = {20000,40000}>")  # fmt: skip
    assert graph.params == 8 * 10**8
    with pytest.raises(ModelError, match="2 GiB"):
        materialise(graph)
