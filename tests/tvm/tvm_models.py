"""Small models with random weights."""

from __future__ import annotations

from typing import Any

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


class Model:
    """Collects nodes and weights."""

    def __init__(self, **inputs: tuple[int, ...]) -> None:
        self._random = numpy.random.default_rng(1)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs = inputs

    def weight(self, *shape: int) -> str:
        """Random weights."""
        return self.constant(self._random.standard_normal(shape).astype("float32"))

    def constant(self, values: Any) -> str:
        """An initialiser."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = f"{op}_{len(self._nodes)}".lower()
        made = helper.make_node(op, list(inputs), [name], name=f"node_{name}", **attributes)
        self._nodes.append(made)
        return name

    def proto(self, *outputs: str) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(
            self._nodes,
            "small",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in
             self._inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
            self._weights,
        )  # fmt: skip
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        made = onnx.shape_inference.infer_shapes(made, strict_mode=True)
        onnx.checker.check_model(made)
        return made
