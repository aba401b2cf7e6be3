"""Every network against what its paper or a published implementation says, and in a runtime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lwprof import zoo
from lwprof.profiler.graph import read
from lwprof.zoo.families.nasbench201 import nasbench201

# Large maps and wide layers only cost time here; benchmarks/zoo_run.py runs all at full size.
_SMALL, _FEW = 64, 30_000_000
_SMALLER: dict[str, dict[str, Any]] = {
    "addernet_resnet50": {"resolution": 32},
    "inception_v3": {"resolution": 75},
    "vgg16": {"width": 0.25},
    "vgg19": {"width": 0.25},
}


def _unit(value: float) -> float:
    """Half a unit of the last digit that was published: 1.4e9 → 0.05e9."""
    text = f"{value:.12e}"
    digits = text.split("e")[0].rstrip("0")
    exponent = int(text.split("e")[1]) - max(0, len(digits.partition(".")[2]))
    return 0.5 * 10.0**exponent


def _significant(value: int) -> int:
    return len(str(value).rstrip("0"))


@pytest.mark.parametrize("name", zoo.list())
def test_counts_equal_the_published_ones(name: str) -> None:
    listed = zoo.figures()[name]
    model = zoo.build(name, weights="none")
    onnx.checker.check_model(model, full_check=True)
    graph = read(model)
    params, macs = listed.published_params, listed.published_macs
    if params is not None and _significant(params) > 4:
        assert graph.params == params
    elif params is not None:
        assert abs(graph.params - params) <= max(0.005 * params, _unit(params))
    if macs is not None:
        assert graph.macs is not None
        assert abs(graph.macs - macs) <= max(0.01 * macs, _unit(macs))
    assert (graph.params, graph.macs, graph.peak_memory_bytes) == (
        listed.params,
        listed.macs,
        listed.peak_memory_bytes,
    )
    assert model.ByteSize() < 400_000
    # The shapes that the builder tracked are those that inference finds.
    declared = [
        tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output
    ]
    assert declared == [output.shape for output in graph.outputs]


@pytest.mark.parametrize(
    "name", [n for n, row in zoo.figures().items() if row.params < _FEW or n in _SMALLER]
)
def test_runs_with_finite_outputs_that_depend_on_the_input(name: str) -> None:
    options = zoo.find(name).options
    given: dict[str, Any] = {"batch": 2} if "batch" in options else {}
    if options.get("resolution", 0) > _SMALL:
        given["resolution"] = _SMALL
    model = zoo.build(name, seed=1, **given | _SMALLER.get(name, {}))
    _no_denormals(model)
    session = _session(model)
    shape = session.get_inputs()[0].shape
    first = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    outputs = session.run(None, {"input": first})
    others = session.run(None, {"input": -first[::-1]})
    for output, other in zip(outputs, others, strict=True):
        assert np.isfinite(output).all()
        size = output.std()
        assert size > 0.01 and np.abs(output).max() < 300
        assert np.abs(output - other).max() > 1e-3 * size


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    # Each session runs twice: optimising it would take longer than it saves.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def _no_denormals(model: onnx.ModelProto) -> None:
    smallest = np.finfo(np.float32).tiny
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.abs(np.frombuffer(tensor.raw_data, np.float32))
            assert not np.any((values > 0) & (values < smallest)), tensor.name


def test_fbnet_c_is_timms_up_to_biases_and_expansions_by_one() -> None:
    # The authors' code has biases before batch norm, and no 1×1 where it would expand by 1;
    # timm's fbnetc_100 has no biases, and those 1×1 with their norms: of 16, 24, 24 channels.
    model = zoo.build("fbnet_c")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    biases = {node.input[2] for node in convolutions if len(node.input) > 2}
    extra = sum(int(t.dims[0]) for t in model.graph.initializer if t.name in biases)
    expansions = sum(c * c + 2 * c for c in (16, 24, 24))
    assert zoo.figures()["fbnet_c"].params - extra + expansions == 5_572_200


def test_alexnet_2012_has_two_groups_where_the_paper_has_two_devices() -> None:
    model = zoo.build("alexnet_2012", weights="none")
    groups = [
        attribute.i
        for node in model.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert groups == [1, 2, 1, 2, 2]


def test_no_optimiser_removes_a_tiny_operator(tmp_path: Any) -> None:
    model = zoo.build("tiny_ops")
    assert len(model.graph.node) == 200
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert len(optimised.graph.node) == 200


@pytest.mark.parametrize("pair", zoo.substitutions(), ids=lambda pair: pair.name)
def test_substitutions_cost_what_the_survey_says(pair: zoo.Substitution) -> None:
    before, after = read(pair.original), read(pair.replacement)
    assert before.macs is not None and after.macs is not None
    assert after.macs / before.macs == pytest.approx(pair.ratio, rel=1e-12)
    assert before.outputs[0].shape == after.outputs[0].shape


def test_an_addition_moves_three_maps_where_a_concatenation_moves_four() -> None:
    """RepGhost's argument: a Concat has no MACs either, and costs more."""
    pair = next(pair for pair in zoo.substitutions() if pair.name == "concat_to_add")
    moved = []
    for model, kind in ((pair.original, "Concat"), (pair.replacement, "Add")):
        graph = read(model)
        operator = next(o for o in graph.operators if o.type == kind)
        assert operator.macs == 0
        moved.append(operator.bytes_read + operator.bytes_written)
    assert moved == [4 * 64 * 28 * 28 * 4, 3 * 64 * 28 * 28 * 4]


def test_darts_is_the_authors_network_though_not_the_papers_574_million() -> None:
    # https://github.com/quark0/darts/issues/46: flops-counter.pytorch says 544.59 M of the
    # authors' DARTS_V2. It adds 2 per normalised element, 1 per ReLU, 1 per pooled input.
    graph = read(zoo.build("darts_imagenet", weights="none"))
    weights = {"BatchNormalization": 2, "Relu": 1, "MaxPool": 1, "GlobalAveragePool": 1}
    counted = [o for o in graph.operators if o.type in weights]
    extra = sum(weights[o.type] * math.prod(graph.tensors[o.inputs[0]].shape) for o in counted)
    assert graph.macs == 529_911_552 and graph.params == 4_718_752
    assert round((graph.macs + extra) / 1e6, 2) == 544.59


@pytest.mark.parametrize("cell", ["111111", "444444", "311111", "131111", "032441", "333333"])
def test_every_cell_of_nasbench201_stays_in_range(cell: str) -> None:
    """Six skipped edges multiply by four in each of fifteen cells: 10⁹, were it not provided for."""
    model = zoo.draw(nasbench201, cell=cell)
    for node in list(model.graph.node):
        if node.op_type in ("Add", "Conv", "BatchNormalization"):
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = _session(model)
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    output, *inside = session.run(None, {"input": image})
    assert 0.01 < output.std() < 10
    assert max(np.abs(value).max() for value in inside) < 1000
