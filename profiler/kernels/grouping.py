"""The workload of original operators that some runtime fused into one kernel.

For runtimes that tell which operators a kernel runs, and nothing more (TVM). What every
compiler folds into weights is folded here too, so that a fused convolution has the same
key whichever runtime runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.errors import UsageError
from lwprof.profiler.graph.model import Graph, Operator
from lwprof.profiler.kernels.attributes import small_values
from lwprof.profiler.kernels.bodies import captured_names, encoded_attributes, has_bodies
from lwprof.profiler.kernels.fused import unfused
from lwprof.profiler.kernels.values import Call, Value, join_type
from lwprof.profiler.kernels.workload import Workload

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_COPIES = ("Identity", "Dropout")


def operators_workload(graph: Graph, names: Sequence[str]) -> Workload:
    """The workload of the operators ``names``, run as one kernel.

    Batch normalisations, scales and biases that follow a convolution or a matrix product
    in the group count as part of its weights; copies do not count.

    Args:
        graph: the model that the operators belong to.
        names: names of operators of ``graph``, in any order.

    Raises:
        UsageError: no operators, or one that the graph does not have.
    """
    wanted = set(names)
    chosen = [operator for operator in graph.operators if operator.name in wanted]
    missing = wanted - {operator.name for operator in chosen}
    if missing or not chosen:
        raise UsageError(f"the graph has no operator {min(missing, default='')!r}")
    group = _Group(graph)
    for operator in chosen:
        group.add(operator)
    calls = group.calls or group.copies
    return Workload.from_calls([step for call in calls for step in unfused(call)])


class _Group:
    """Calls collected operator by operator, with what folds into weights left out."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._stored = {tensor.name: tensor for tensor in graph.proto.graph.initializer}
        self._values: dict[str, Value] = {}
        self._opset = next(
            (e.version for e in graph.proto.opset_import if e.domain in ("", "ai.onnx")), 17
        )
        self.calls: list[Call] = []
        self.copies: list[Call] = []

    def add(self, operator: Operator) -> None:
        """Appends an operator, or folds it into the call that it follows."""
        inputs = [self._value(name) for name in operator.inputs]
        if inputs and all(value is None or value.constant for value in inputs):
            return  # made of weights alone: done before anything runs
        call = self._call(operator, inputs)
        if operator.type in _COPIES or self._folds(operator, inputs):
            data = next(value for value in inputs if value is not None and not value.constant)
            self._values[operator.outputs[0]] = data
            self.copies.append(call)
            return
        if (product := self._becomes_gemm(operator, inputs)) is not None:
            self.calls[-1] = Call("Gemm", {}, product.inputs, call.outputs, self._opset)
            return
        self.calls.append(call)

    def _call(self, operator: Operator, inputs: list[Value | None]) -> Call:
        outputs = [self._value(name) for name in operator.outputs]
        attributes: dict[str, Any] = dict(operator.attributes)
        node = self._graph.proto.graph.node[operator.index]
        if has_bodies(node):
            captured = captured_names(node)
            attributes = {**encoded_attributes(node), "captured": len(captured)}
            inputs = [*inputs, *(self._value(name) for name in captured)]
        op = join_type(operator.domain, operator.type)
        if op == "Sum" and len(inputs) == 2:
            op = "Add"  # fused, they are one
        return Call(op, attributes, tuple(inputs), tuple(outputs), self._opset)

    def _folds(self, operator: Operator, inputs: list[Value | None]) -> bool:
        """True for a scale, shift or normalisation per channel of the convolution before."""
        maker = self._maker(inputs)
        if maker is None or maker.op not in _CONVOLUTIONS:
            return maker is not None and maker.op == "Gemm" and self._is_row(operator, inputs)
        if operator.type == "BatchNormalization":
            return all(value is None or value.constant for value in inputs[1:])
        if operator.type not in ("Mul", "Add", "Sub", "Div") or len(inputs) != 2:
            return False
        other = next((value for value in inputs if value is not None and value.constant), None)
        result = maker.output(0)
        if other is None or other.elements is None or result is None or not result.shape:
            return False
        per_channel = (1,) * (len(result.shape) - 2)
        shape = other.known_shape or ()
        return other.elements == 1 or (
            shape[-len(per_channel) :] == per_channel and other.elements == result.shape[1]
        )

    def _is_row(self, operator: Operator, inputs: list[Value | None]) -> bool:
        if operator.type != "Add" or len(inputs) != 2:
            return False
        other = next((value for value in inputs if value is not None and value.constant), None)
        result = self.calls[-1].output(0)
        if other is None or result is None or not result.shape or not other.shape:
            return False
        return other.elements == other.shape[-1] == result.shape[-1]

    def _becomes_gemm(self, operator: Operator, inputs: list[Value | None]) -> Call | None:
        """The matrix product that a row of constants is added to, if it is one of matrices."""
        maker = self._maker(inputs)
        if maker is None or maker.op != "MatMul" or not self._is_row(operator, inputs):
            return None
        flat = all(
            v is not None and v.shape is not None and len(v.shape) == 2 for v in maker.inputs
        )
        return maker if flat else None

    def _maker(self, inputs: list[Value | None]) -> Call | None:
        """The last call, if it made what is read here."""
        if not self.calls:
            return None
        made = self.calls[-1].output(0)
        return self.calls[-1] if made is not None and any(v is made for v in inputs) else None

    def _value(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self._values:
            tensor = self._graph.tensors.get(name)
            stored = self._stored.get(name)
            data = None if stored is None else small_values(stored)
            if tensor is None:
                self._values[name] = Value(None, None)
            else:
                self._values[name] = Value(
                    tensor.dtype, tensor.shape, tensor.constant, data, tensor.kind
                )
        return self._values[name]
