"""Small networks for the tests of compression, with weights that are not degenerate."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Small:
    """A model under construction: ``op`` adds a node with one output and returns its name."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """A random initialiser."""
        spread = scale or 1 / np.sqrt(max(1, int(np.prod(shape[1:]))))
        return self.keep(self.random.normal(0, spread, shape))

    def keep(self, array: Any) -> str:
        """An initialiser with given numbers."""
        kind = array.dtype if array.dtype.kind == "i" else np.float32
        name = f"w{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, out: int, channels: int, kernel: int = 3, **attributes: Any) -> str:
        """A biased convolution that keeps the size unless told otherwise."""
        weight = self.weight(out, channels // int(attributes.get("group", 1)), kernel, kernel)
        margin = kernel // 2
        settings: dict[str, Any] = {"pads": [margin] * 4, **attributes}
        return self.op("Conv", x, weight, self.weight(out, scale=0.1), **settings)

    def norm(self, x: str, channels: int) -> str:
        """Batch normalisation with numbers that all matter."""
        parts = [1 + 0.2 * self.random.normal(size=channels),
                 0.2 * self.random.normal(size=channels), 0.2 * self.random.normal(size=channels),
                 0.5 + self.random.random(channels)]  # fmt: skip
        return self.op("BatchNormalization", x, *(self.keep(p) for p in parts))

    def model(self, *results: str, opset: int = 17) -> Any:
        """The finished, checked model."""
        graph = helper.make_graph(
            self.nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [onnx.ValueInfoProto(name=name) for name in results], self.stored,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        inferred = onnx.shape_inference.infer_shapes(model)
        shapes = {value.name: value for value in inferred.graph.value_info}
        shapes |= {value.name: value for value in inferred.graph.output}
        del model.graph.output[:]
        model.graph.output.extend(shapes[name] for name in results)
        onnx.checker.check_model(model, full_check=True)
        return model
