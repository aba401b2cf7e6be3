"""A sample of the zoo through TVM's front end; benchmarks/zoo_run.py imports all of it."""

from __future__ import annotations

import pytest

from lwprof import zoo

onnx_frontend = pytest.importorskip(
    "tvm.relax.frontend.onnx", reason="TVM is not installed", exc_type=ImportError
)

_SAMPLE = ("addersr", "ds_cnn", "mobilenet_v3_small", "nasbench201_best", "shufflenet_v1",
           "squeezenet1_1", "tiny_ops", "transformer_layer")  # fmt: skip


@pytest.mark.parametrize("name", _SAMPLE)
def test_imports_into_tvm(name: str) -> None:
    module = onnx_frontend.from_onnx(zoo.build(name))
    result = module["main"].ret_ty
    expected = [
        tuple(d.dim_value for d in output.type.tensor_type.shape.dim)
        for output in zoo.build(name, weights="none").graph.output
    ]
    assert [tuple(int(extent) for extent in result.shape)] == expected
