"""Calls of an optimised graph's nodes: every tensor's type and logical shape, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.graph.inference import tensor_from_type
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.kernels.attributes import small_values
from lwprof.profiler.kernels.bodies import captured_names, encoded_attributes, has_bodies
from lwprof.profiler.kernels.correspondence import Correspondence
from lwprof.profiler.kernels.knowing import known_output
from lwprof.profiler.kernels.optimised import NCHWC_DOMAIN, Node, Optimised
from lwprof.profiler.kernels.original import Original
from lwprof.profiler.kernels.shapes import output_values
from lwprof.profiler.kernels.values import Call, Shape, Value, split_type


class Tracer:
    """Follows types and shapes through an optimised graph, node by node.

    A tensor whose name survived has the type and shape that the original graph says.
    For the others the operators' own rules are applied. Blocked layouts pad channels;
    the shapes here are the logical ones, without padding.
    """

    def __init__(self, original: Original, optimised: Optimised, found: Correspondence) -> None:
        self._original = original
        self._optimised = optimised
        self._found = found
        self._values: dict[str, Value] = {}
        for value in optimised.inputs:
            tensor = original.graph.tensors.get(value.name)
            if tensor is None or tensor.dtype is None:
                tensor = tensor_from_type(value.name, value.type)
            self._values[value.name] = _value(tensor)

    def call(self, node: Node) -> Call:
        """The call that ``node`` makes; nodes must be asked for in order."""
        inputs = [self._input(name) for name in node.inputs]
        attributes = attributes_of(node.proto)
        if node.op == f"{NCHWC_DOMAIN}.Conv":
            self._unpad(node, inputs, attributes)
        outputs = self._outputs(node, inputs)
        if "activation" not in attributes and has_bodies(node.proto):
            attributes = encoded_attributes(self._source(node))
            captured = captured_names(self._source(node))
            inputs += [self._input(name) for name in captured]
            attributes["captured"] = len(captured)
        return Call(node.op, attributes, tuple(inputs), tuple(outputs), self._optimised.opset)

    def _source(self, node: Node) -> Any:
        """Bodies are described as written, not as a runtime optimised them for one machine."""
        own = self._found.own.get(node.place)
        return node.proto if own is None else self._original.node(own)

    def _input(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self._values:
            self._values[name] = self._constant(name)
        return self._values[name]

    def _constant(self, name: str) -> Value:
        stored = self._optimised.constants.get(name)
        if stored is not None:
            dtype = NAMES.get(stored.data_type) or None
            return Value(dtype, tuple(stored.dims), True, small_values(stored))
        sparse = self._optimised.sparse.get(name)
        if sparse is not None:
            dtype = NAMES.get(sparse.values.data_type) or None
            return Value(dtype, tuple(sparse.dims), True, kind="sparse")
        tensor = self._original.graph.tensors.get(name)
        return Value(None, None) if tensor is None else _value(tensor)

    def _outputs(self, node: Node, inputs: list[Value | None]) -> list[Value | None]:
        known = [self._known(name) for name in node.outputs]
        if any(value is None and name for value, name in zip(known, node.outputs, strict=True)):
            ruled = output_values(node.proto, inputs, self._optimised.opset)
            known = [
                value if value is not None else self._checked(rule, node, name)
                for value, rule, name in zip(known, ruled, node.outputs, strict=True)
            ]
        if (
            len(known) == 1
            and known[0] is not None
            and known[0].dtype in ("int64", "int32", "bool")
        ):
            call = Call(node.op, attributes_of(node.proto), tuple(inputs), (known[0],))
            known = [replace(known[0], data=known_output(call))]
        found: list[Value | None] = []
        for name, value in zip(node.outputs, known, strict=True):
            # A fresh object: values are told apart by identity.
            fresh = replace(value) if name and value is not None else None
            found.append(fresh)
            if fresh is not None:
                self._values[name] = fresh
        return found

    def _known(self, name: str) -> Value | None:
        if name not in self._original.producer:
            return None
        tensor = self._original.graph.tensors.get(name)
        return None if tensor is None or tensor.dtype is None else _value(tensor)

    def _checked(self, rule: Value, node: Node, name: str) -> Value:
        """Falls back on the corresponding original tensor where the rules say nothing."""
        tensor = self._original.graph.tensors.get(self._found.tensor.get(name, ""))
        if tensor is None or name in self._found.loose:
            return rule
        if split_type(node.op)[0] == NCHWC_DOMAIN and tensor.shape is not None:
            return replace(rule, shape=tensor.shape)
        if rule.known_shape is None and tensor.shape is not None and _fits(rule, tensor.shape):
            rule = replace(rule, shape=tensor.shape, kind=tensor.kind)
        return rule if rule.dtype is not None else replace(rule, dtype=tensor.dtype)

    def _unpad(self, node: Node, inputs: list[Value | None], attributes: dict[str, Any]) -> None:
        """Writes the weight's logical shape: blocked weights have padded channels."""
        data, weight = inputs[0], inputs[1] if len(inputs) > 1 else None
        if weight is None or weight.shape is None or len(weight.shape) < 3:
            return
        shape = self._logical_weight(node, weight.shape, data, attributes)
        inputs[1] = replace(weight, shape=shape, data=None)

    def _logical_weight(
        self, node: Node, stored: Shape, data: Value | None, attributes: dict[str, Any]
    ) -> Shape:
        channels = (
            data.shape[1] if data is not None and data.shape and len(data.shape) > 1 else None
        )
        group = int(attributes.get("group", 1))
        if channels is not None and stored[1] == 1 and group == stored[0]:
            attributes["group"] = channels  # depthwise, padded to whole blocks
            return (channels, *stored[1:])
        made = self._channels_made(node)
        filters = stored[0] if made is None else made
        depth = stored[1] if channels is None else channels // group
        return (filters, depth, *stored[2:])

    def _channels_made(self, node: Node) -> int | None:
        names = [self._found.tensor.get(node.outputs[0], "")]
        primary = self._found.primary(node)
        if primary is not None:
            names.append(self._original.operators[primary].outputs[0])
        for name in names:
            tensor = self._original.graph.tensors.get(name)
            if tensor is not None and tensor.shape is not None and len(tensor.shape) > 1:
                return tensor.shape[1]
        for place, _ in self._optimised.consumers.get(node.outputs[0], ()):
            reader = self._optimised.nodes[place]
            if reader.plain_type == "ReorderOutput":
                channels = attributes_of(reader.proto).get("channels")
                return None if channels is None else int(channels)
        return None


def _value(tensor: Tensor) -> Value:
    return Value(tensor.dtype, tensor.shape, tensor.constant, kind=tensor.kind)


def _fits(rule: Value, shape: Shape) -> bool:
    """True if ``shape`` does not contradict what the rule found out."""
    if rule.shape is None:
        return True
    return len(rule.shape) == len(shape) and all(
        a is None or b is None or a == b for a, b in zip(rule.shape, shape, strict=True)
    )
