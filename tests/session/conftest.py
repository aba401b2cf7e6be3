"""A small network, and one real measurement of it that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lwprof import api
from lwprof.profiler.session.result import MeasurementResult


def small_network() -> onnx.ModelProto:
    """Conv–Relu twice, a residual Add, a global pool and a Gemm; every weight random."""
    rng = np.random.default_rng(3)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.1, name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["a"], name="add"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="gemm"),
    ]
    constants = [
        constant("w1", 16, 3, 3, 3), constant("b1", 16), constant("w2", 16, 16, 3, 3),
        constant("b2", 16), constant("w3", 16, 10), constant("b3", 10),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@dataclass(frozen=True)
class Measured:
    """One measurement: where it is stored, the model's file, and the result."""

    store: str
    path: Path
    result: MeasurementResult


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    folder = tmp_path_factory.mktemp("measured")
    path = folder / "small.onnx"
    onnx.save(small_network(), path)
    store = str(folder / "m.db")
    result = api.measure([str(path)], threads=1, rel_ci=0.5, budget_s=300, store=store, seed=1)
    yield Measured(store, path, result)
