"""Compiling with TVM and running the result: numbers, attribution, cache, times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'lwprof[tvm]'")

sys.path.insert(0, str(Path(__file__).parent))
from tvm_models import Model

from lwprof.agents.program import tvm_runtime
from lwprof.agents.program.failures import Failure
from lwprof.errors import ModelError
from lwprof.profiler.graph import read
from lwprof.profiler.kernels import onnxruntime_kernels
from lwprof.profiler.tvm import TvmArtifact, compile_model

TOLERANCE = 1e-5


def feeds_for(model: onnx.ModelProto) -> dict[str, Any]:
    random = numpy.random.default_rng(2)
    return {
        value.name: random.standard_normal(
            [d.dim_value for d in value.type.tensor_type.shape.dim]
        ).astype("float32")
        for value in model.graph.input
    }


def reference(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def assert_same(model: onnx.ModelProto, artifact: TvmArtifact) -> None:
    feeds = feeds_for(model)
    session = tvm_runtime.load(str(artifact.library), {"threads": 1}, feeds)
    for ours, theirs in zip(session.first(), reference(model, feeds), strict=True):
        scale = float(numpy.abs(theirs).max()) or 1.0
        assert ours.shape == theirs.shape
        assert float(numpy.abs(ours - theirs).max()) <= TOLERANCE * scale
    session.close()


def small_network() -> onnx.ModelProto:
    m = Model(x=(1, 3, 12, 12))
    x = m.add("Conv", "x", m.weight(32, 3, 3, 3), m.weight(32), pads=[1] * 4, strides=[2, 2])
    x = m.add("Relu", x)
    y = m.add("Conv", x, m.weight(32, 1, 3, 3), m.weight(32), pads=[1] * 4, group=32)
    y = m.add("Conv", y, m.weight(32, 32, 1, 1))
    x = m.add("Relu", m.add("Add", x, y))
    x = m.add("Flatten", m.add("GlobalAveragePool", x))
    return m.proto(m.add("Gemm", x, m.weight(10, 32), m.weight(10), transB=1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def compiled(cache: Path) -> TvmArtifact:
    return compile_model(small_network(), cache_dir=cache, search=False)


def test_a_small_network_gives_onnx_runtimes_numbers(compiled: TvmArtifact) -> None:
    assert_same(small_network(), compiled)


def test_every_operator_is_attributed_and_no_conversion_was_needed(compiled: TvmArtifact) -> None:
    kernels = [k.kernel for k in compiled.kernels]
    assert [k.operators for k in kernels] == [
        ("Conv", "Relu"), ("Conv",), ("Conv", "Add", "Relu"), ("GlobalAveragePool",), ("Gemm",),
    ]  # fmt: skip
    nodes = [name for k in kernels for name in k.nodes]
    assert len(nodes) == len(set(nodes)) == 8  # Flatten is a view, no kernel
    assert all(k.schedule.startswith("template:") for k in compiled.kernels)
    assert compiled.schedule == "templates"


def test_equal_convolutions_have_equal_keys_under_both_runtimes(
    compiled: TvmArtifact, tmp_path: Path
) -> None:
    graph = read(small_network())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    theirs = onnxruntime_kernels(graph, onnx.load(options.optimized_model_filepath))
    keys = {k.workload.key for k in theirs}
    ours = {k.kernel.operators: k.kernel.workload.key for k in compiled.kernels}
    for operators in (("Conv", "Relu"), ("Conv",), ("GlobalAveragePool",), ("Gemm",)):
        assert ours[operators] in keys


def test_what_was_compiled_once_comes_from_the_cache(cache: Path, compiled: TvmArtifact) -> None:
    again = compile_model(small_network(), cache_dir=cache, search=False)
    assert again.from_cache
    assert again == compiled
    compiled.library.unlink()  # writing over a loaded library would kill this process
    compiled.library.write_bytes(b"damaged")
    mended = compile_model(small_network(), cache_dir=cache, search=False)
    assert not mended.from_cache
    assert_same(small_network(), mended)


def test_kernel_times_belong_to_the_kernels_and_fit_into_the_run(cache: Path) -> None:
    model = small_network()
    artifact = compile_model(model, cache_dir=cache, search=False)
    session = tvm_runtime.load(str(artifact.library), {"profile": True}, feeds_for(model))
    session.first()
    for _ in range(4):
        session.run()
    profile = session.profile_end()
    assert [n["name"] for n in profile["nodes"]] == [
        k.kernel.runtime_node for k in artifact.kernels
    ]
    assert {n["provider"] for n in profile["nodes"]} == {"tvm"}
    assert len(profile["durations_ns"]) == len(profile["run_ns"]) == len(profile["bias_ns"]) == 5
    for row, whole in zip(profile["durations_ns"], profile["run_ns"], strict=True):
        assert all(d > 0 for d in row)
        assert sum(row) < whole
    assert len(profile["gap_ns"]) >= 3
    assert min(profile["gap_ns"]) < min(profile["run_ns"])


def test_one_kernel_runs_alone(cache: Path) -> None:
    artifact = compile_model(small_network(), cache_dir=cache, search=False)
    first = artifact.kernels[0]
    arguments = [{"dtype": d, "shape": list(s)} for d, s in first.arguments]
    kernel = {"function": first.function, "arguments": arguments, "repeats": 2}
    session = tvm_runtime.load(str(artifact.library), {"kernel": kernel}, {})
    session.run()
    assert session.outputs()[0].min() == 0.0  # it ends in a Relu
    assert list(session.outputs()[0].shape) == arguments[-1]["shape"]
    with pytest.raises(Failure, match="no such kernel"):
        tvm_runtime.load(str(artifact.library), {"kernel": {**kernel, "function": "other"}}, {})


def test_a_search_picks_measured_tiles_and_tuning_says_so(tmp_path: Path) -> None:
    m = Model(x=(1, 16, 6, 6))
    model = m.proto(m.add("Conv", "x", m.weight(16, 16, 1, 1)))
    told: list[str] = []
    made = compile_model(model, cache_dir=tmp_path, progress=lambda what, done: told.append(what))
    assert made.kernels[-1].schedule.startswith(("template:", "tuned:"))
    tuned = compile_model(model, cache_dir=tmp_path, tune_s=3.0)
    conv = next(k for k in tuned.kernels if "Conv" in k.kernel.operators)
    assert conv.schedule.startswith("tuned:conv2d_nchwc[")
    assert "picking tiles" in told
    again = compile_model(model, cache_dir=tmp_path)
    assert again.from_cache
    assert again.schedule == "tuned"
    assert_same(model, tuned)


def test_without_schedules_every_kernel_says_untuned(tmp_path: Path) -> None:
    m = Model(x=(1, 4, 5, 5))
    model = m.proto(m.add("Relu", m.add("Conv", "x", m.weight(4, 4, 3, 3))))
    made = compile_model(model, cache_dir=tmp_path, schedules=False)
    assert {k.schedule for k in made.kernels} == {"untuned"}
    assert made.schedule == "untuned"
    assert_same(model, made)


def test_operators_without_a_blocked_form_run_too(tmp_path: Path) -> None:
    m = Model(x=(1, 8, 9, 10), y=(1, 8, 10, 6), z=(2, 5, 16))
    pooled = m.add("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    conv = m.add("Conv", "x", m.weight(32, 8, 3, 3), m.weight(32), pads=[1] * 4, dilations=[2, 2])
    mean = m.add("AveragePool", conv, kernel_shape=[3, 2], pads=[1, 0, 1, 1])
    joined = m.add("Concat", conv, conv, axis=1)
    up = m.add("ConvTranspose", "x", m.weight(8, 6, 2, 2), strides=[2, 2])
    norm = m.add("LayerNormalization", "z", m.weight(16), m.weight(16))
    line = m.add("Conv", "z", m.weight(7, 5, 3), pads=[1, 1])
    outputs = [
        pooled, mean, joined, up, norm, line,
        m.add("MatMul", "x", "y"),
        m.add("Softmax", "x", axis=-1),
        m.add("Sum", "x", "x", "x"),
        m.add("HardSwish", conv),
        m.add("Sigmoid", "z"),
        m.add("Gemm", m.add("Flatten", "z"), m.weight(80, 19)),
        m.add("ReduceMean", conv, axes=[2, 3], keepdims=0),
        m.add("Transpose", conv, perm=[0, 2, 3, 1]),
        m.add("Clip", "z", m.constant(numpy.float32(-0.5)), m.constant(numpy.float32(0.5))),
    ]  # fmt: skip
    model = m.proto(*outputs)
    assert_same(model, compile_model(model, cache_dir=tmp_path, search=False))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return {
        "ins": groups * draw(st.sampled_from([1, 2, 3, 8, 16, 20])),
        "outs": groups * draw(st.sampled_from([1, 2, 5, 8, 16, 33])),
        "groups": groups,
        "kernel": kernel,
        "size": draw(st.tuples(st.integers(6, 15), st.integers(6, 15))),
        "strides": draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        "dilations": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "pads": draw(st.lists(st.integers(0, 2), min_size=4, max_size=4)),
        "batch": draw(st.sampled_from([1, 2])),
    }


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(convolutions(), min_size=2, max_size=2))
def test_any_convolution_gives_onnx_runtimes_numbers(
    tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, Any]]
) -> None:
    m = Model(**{f"x{i}": (c["batch"], c["ins"], *c["size"]) for i, c in enumerate(cases)})
    outputs = []
    for i, c in enumerate(cases):
        weight = m.weight(c["outs"], c["ins"] // c["groups"], *c["kernel"])
        y = m.add(
            "Conv", f"x{i}", weight, m.weight(c["outs"]), group=c["groups"],
            strides=c["strides"], dilations=c["dilations"], pads=c["pads"],
        )  # fmt: skip
        outputs.append(m.add("Relu", m.add("Add", y, y)))
    model = m.proto(*outputs)
    folder = tmp_path_factory.mktemp("any")
    assert_same(model, compile_model(model, cache_dir=folder, search=False))


def test_what_tvm_cannot_read_is_refused_in_one_line(tmp_path: Path) -> None:
    m = Model(x=(1, 3, 8, 8))
    model = m.proto(m.add("Det", "x"))
    with pytest.raises(ModelError, match=r"TVM cannot read small: .*Det.*--runtime onnxruntime"):
        compile_model(model, cache_dir=tmp_path)


def test_a_library_of_anyone_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    path.write_bytes(b"not a library")
    with pytest.raises(Failure, match="TVM cannot load") as refused:
        tvm_runtime.load(str(path), {}, {})
    assert refused.value.kind == "model"


def test_a_missing_input_is_named(cache: Path) -> None:
    artifact = compile_model(small_network(), cache_dir=cache, search=False)
    with pytest.raises(Failure, match="no data for the input x"):
        tvm_runtime.load(str(artifact.library), {}, {})
