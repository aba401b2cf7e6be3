"""The graph under construction: values with known shapes, nodes, parameters, constants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from lwprof.zoo.weights import ONNX_TYPES, SeededWeights, stored

OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph.

    Attributes:
        name: the ONNX value name.
        shape: extents; all are known.
        power: estimated mean square of its elements.
        mean: estimated mean of its elements.
    """

    name: str
    shape: tuple[int, ...]
    power: float = 1.0
    mean: float = 0.0

    @property
    def std(self) -> float:
        """Estimated standard deviation of its elements."""
        return math.sqrt(max(self.power - self.mean**2, 1e-6 * self.power, 1e-12))

    @property
    def channels(self) -> int:
        """Extent of axis 1."""
        return self.shape[1]


class Graph:
    """Nodes, tensors and names of one graph.

    Args:
        weights: where numbers come from and how they are stored.
        precision: ``float32`` or ``float16``, the element type of inputs, weights and results.

    Attributes:
        model: the ONNX model so far.
    """

    def __init__(self, weights: SeededWeights, precision: str = "float32") -> None:
        self.weights, self.precision = weights, precision
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="lwprof")
        self.model.opset_import.add(version=OPSET)
        self._scope = ""
        self._counts: dict[str, int] = {}
        self._constants: dict[tuple[Any, ...], str] = {}

    @contextmanager
    def scope(self, label: str) -> Iterator[None]:
        """Puts ``label.`` before the names of everything made inside."""
        outer, self._scope = self._scope, f"{self._scope}{label}."
        yield
        self._scope = outer

    def input(self, shape: Sequence[int], name: str = "input") -> Value:
        """A graph input of the network's element type."""
        self._declare(self.model.graph.input.add(), name, shape)
        return Value(name, tuple(shape))

    def op(
        self, kind: str, inputs: Sequence[Value | str], shape: Sequence[int],
        power: float | None = None, mean: float = 0.0, **attributes: Any,
    ) -> Value:  # fmt: skip
        """One node with one output of ``shape``; estimates default to the first input's."""
        name = self._name(kind)
        self._node(kind, name, [i if isinstance(i, str) else i.name for i in inputs], [name],
                   attributes)  # fmt: skip
        if power is None:
            first = next((i for i in inputs if isinstance(i, Value)), Value("", ()))
            power, mean = first.power, first.mean
        return Value(name, tuple(shape), power, mean)

    def split(self, x: Value, sizes: Sequence[int], axis: int = 1) -> list[Value]:
        """``x`` cut along ``axis`` into parts of ``sizes``."""
        name = self._name("Split")
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        parts = [replace(x, name=f"{name}.{i}", shape=shape) for i, shape in enumerate(shapes)]
        self._node("Split", name, [x.name, self.integers(sizes)], [p.name for p in parts],
                   {"axis": axis})  # fmt: skip
        return parts

    def parameter(self, array: Any, label: str = "weight") -> str:
        """Name of a learned tensor holding ``array`` (constant weights: its first number)."""
        name = self._name(label)
        if not self.weights.constant:
            array, kind = stored(array, self.precision), ONNX_TYPES[self.precision]
            # Built in place: a tensor appended to a protobuf list would be copied.
            self.model.graph.initializer.add(
                name=name, dims=array.shape, data_type=kind, **self.weights.content(array)
            )
            return name
        number = stored(np.array([array.flat[0]], np.float32), self.precision)
        value = _tensor(number, ONNX_TYPES[self.precision])
        self._node("ConstantOfShape", name, [self._shape(array.shape)], [name], {"value": value})
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Name of an int64 constant vector (a Constant node: structure, not parameters)."""
        return self._constant(np.array(values, np.int64), onnx.TensorProto.INT64)

    def number(self, value: float) -> str:
        """Name of a scalar constant of the network's element type."""
        array = np.array(value, self.precision)
        return self._constant(array, ONNX_TYPES[self.precision])

    def finish(self, name: str, outputs: Sequence[Value]) -> onnx.ModelProto:
        """The model whose graph outputs are ``outputs``, renamed to ``output``, ``output_1`` …."""
        graph = self.model.graph
        graph.name = name
        names = {value.name: f"output_{i}" if i else "output" for i, value in enumerate(outputs)}
        for node in graph.node:
            for field in (node.input, node.output):
                for i, tensor in enumerate(field):
                    if tensor in names:
                        field[i] = names[tensor]
        for value in outputs:
            self._declare(graph.output.add(), names[value.name], value.shape)
        return self.model

    def _name(self, kind: str) -> str:
        label = self._scope + kind.lower()
        self._counts[label] = count = self._counts.get(label, 0) + 1
        return f"{label}{count}"

    def _node(
        self, kind: str, name: str, inputs: list[str], outputs: list[str], attributes: Any
    ) -> None:
        converted = [_attribute(*item) for item in attributes.items()]
        self.model.graph.node.add(
            op_type=kind, name=name, input=inputs, output=outputs, attribute=converted
        )

    def _declare(self, info: onnx.ValueInfoProto, name: str, shape: Sequence[int]) -> None:
        info.name = name
        info.type.tensor_type.elem_type = ONNX_TYPES[self.precision]
        for extent in shape:
            info.type.tensor_type.shape.dim.add(dim_value=extent)

    def _constant(self, array: Any, data_type: int) -> str:
        key = (data_type, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"constant{len(self._constants)}"
            self._node("Constant", name, [], [name], {"value": _tensor(array, data_type)})
        return self._constants[key]

    def _shape(self, shape: Sequence[int]) -> str:
        key = ("shape", *shape)
        if key not in self._constants:
            self._constants[key] = name = f"shape{len(self._constants)}"
            tensor = _tensor(np.array(shape, np.int64), onnx.TensorProto.INT64)
            self.model.graph.initializer.add(name=name).MergeFrom(tensor)
        return self._constants[key]


def _tensor(array: Any, data_type: int) -> onnx.TensorProto:
    return onnx.TensorProto(dims=array.shape, data_type=data_type, raw_data=array.tobytes())


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, onnx.TensorProto):
        return onnx.AttributeProto(name=name, type=onnx.AttributeProto.TENSOR, t=value)
    return _made(name, value)


_made = lru_cache(maxsize=None, typed=True)(onnx.helper.make_attribute)  # slow, and most are alike
