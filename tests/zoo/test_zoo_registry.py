"""Options, seeds, precisions, files and errors of the zoo."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from lwprof import zoo
from lwprof.errors import ModelError, UsageError
from lwprof.zoo import registry


def _run(model: bytes | str, *inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    output: np.ndarray[Any, Any] = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return output


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def test_an_unknown_name_gets_near_matches() -> None:
    with pytest.raises(UsageError, match="mobilenet_v2"):
        zoo.build("mobilenetv2")
    with pytest.raises(UsageError, match="lwprof zoo"):
        zoo.build("zzzz")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"width": -1}, "width must be a positive number"),
        ({"resolution": 22.5}, "resolution must be a positive whole number"),
        ({"batch": 0}, "batch must be"),
        ({"precision": "int4"}, "float32 or float16"),
        ({"weights": "pretrained"}, "'seeded' or 'none'"),
    ],
)
def test_bad_options_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        zoo.build("mobilenet_v2", **given)


def test_an_option_the_family_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="lenet5 takes no width"):
        zoo.build("lenet5", width=0.5)


def test_a_resolution_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="choose a larger resolution"):
        zoo.build("alexnet", resolution=16, weights="none")
    with pytest.raises(ModelError, match="multiple of 64"):
        zoo.build("mobilevit_s", resolution=224, weights="none")


@pytest.mark.parametrize("seed", range(12))
def test_any_resolution_is_valid_or_refused(seed: int) -> None:
    choose = random.Random(seed)
    name = choose.choice([n for n, e in zoo.networks().items() if "resolution" in e.options])
    try:
        model = zoo.build(name, resolution=choose.randint(1, 300), weights="none")
    except ModelError as error:
        assert "resolution" in str(error) or "multiple" in str(error)
        return
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    declared = [_shape(output) for output in model.graph.output]
    assert declared == [_shape(output) for output in inferred.graph.output]


def test_a_model_in_memory_ends_at_two_gigabytes() -> None:
    with pytest.raises(ModelError, match="lwprof.zoo.save"):
        zoo.build("vgg16", width=4000)


def test_options_change_the_shapes() -> None:
    model = zoo.build("mobilenet_v2", width=0.5, resolution=96, classes=7, batch=3, weights="none")
    assert _shape(model.graph.input[0]) == (3, 3, 96, 96)
    assert _shape(model.graph.output[0]) == (3, 7)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)


def test_a_seed_is_its_weights() -> None:
    one, same, other = (zoo.build("lenet5", seed=seed) for seed in (3, 3, 4))
    assert one.SerializeToString() == same.SerializeToString() != other.SerializeToString()


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x1_0", "vit_tiny"])
def test_float16_agrees_with_float32(name: str) -> None:
    full, half = zoo.build(name), zoo.build(name, precision="float16")
    assert half.ByteSize() < 0.6 * full.ByteSize()
    image = np.random.default_rng(0).standard_normal(_shape(full.graph.input[0]))
    expected = _run(full.SerializeToString(), image.astype(np.float32))
    found = _run(half.SerializeToString(), image.astype(np.float16))
    assert found.dtype == np.float16
    assert np.abs(found - expected).max() < 0.1 * expected.std()


def test_constant_weights_run_with_finite_outputs() -> None:
    model = zoo.build("mobilenet_v3_small", weights="none")
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    assert np.isfinite(_run(model.SerializeToString(), image)).all()


def test_large_weights_stream_to_a_file_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = zoo.save("lenet5", tmp_path / "inside.onnx", seed=5)
    monkeypatch.setattr(registry, "_EXTERNAL_BYTES", 100_000)
    beside = zoo.save("lenet5", tmp_path / "beside.onnx", seed=5)
    assert [path.name for path in inside] == ["inside.onnx"]
    assert [path.name for path in beside] == ["beside.onnx", "beside.onnx.data"]
    assert beside[0].stat().st_size < 10_000
    image = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
    assert np.array_equal(_run(str(inside[0]), image), _run(str(beside[0]), image))


def test_every_network_has_one_line_in_the_table_and_known_options() -> None:
    table = zoo.figures()
    assert list(table) == sorted(table) == list(zoo.networks()) == list(zoo.list())
    for name, row in table.items():
        assert row.paper and 1989 <= row.year <= 2026
        assert row.source or (row.published_params is None and row.published_macs is None)
        assert set(zoo.find(name).options) <= {"width", "resolution", "classes", "batch"}


def test_names_and_figures_load_no_library() -> None:
    code = (
        "import sys; from lwprof import zoo; zoo.list(); zoo.figures();"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'onnx', 'lwprof.zoo.builder')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
