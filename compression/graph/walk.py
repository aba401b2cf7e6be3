"""The state of a walk through a graph that finds out which channels depend on which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

from lwprof.compression.graph.labels import FIXED, Labels, squeezed
from lwprof.profiler.graph import Graph
from lwprof.profiler.graph.attributes import attributes_of


@dataclass(slots=True)
class Walk:
    """What is known so far.

    Attributes:
        graph: a model with its weights written out.
        labels: of channels.
        values: labels of every activation seen, by name.
        slots: labels of axes of stored tensors, by (name, axis).
        depthwise: nodes whose ``group`` attribute counts channels, with (input, channels).
        resized: inputs that hold extents of a value: (node name, place) → value.
        makers: the node that labels were made at → labels of its output channels.
        refused: node name → why the channels that it touches are left alone.
    """

    graph: Graph
    labels: Labels = field(default_factory=Labels)
    values: dict[str, Any] = field(default_factory=dict)
    slots: dict[tuple[str, int], Any] = field(default_factory=dict)
    depthwise: dict[str, str] = field(default_factory=dict)
    resized: dict[tuple[str, int], str] = field(default_factory=dict)
    makers: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _stored: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stored = {tensor.name: tensor for tensor in self.graph.proto.graph.initializer}
        for node in self.graph.proto.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._stored[node.output[0]] = attribute.t

    def attributes(self, node: Any) -> dict[str, Any]:
        """A node's attributes as plain values."""
        return dict(attributes_of(node))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Concrete shape of a value; None where it is not known."""
        tensor = self.graph.tensors.get(name)
        if tensor is None or tensor.shape is None or None in tensor.shape:
            return None
        return tuple(int(extent or 0) for extent in tensor.shape)

    def is_stored(self, name: str) -> bool:
        """Whether the values are in the file."""
        return name in self._stored

    def stored_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a stored tensor."""
        return tuple(self._stored[name].dims)

    def array(self, name: str) -> Any | None:
        """A stored tensor; None where it is computed."""
        return numpy_helper.to_array(self._stored[name]) if name in self._stored else None

    def label(self, name: str) -> Any:
        """Labels of a value; one fixed label where nothing is known."""
        found = self.values.get(name)
        if found is not None:
            return found
        return np.full([1] * len(self.shape(name) or ()), FIXED)

    def set(self, name: str, labels: Any) -> None:
        """Notes the labels of a value."""
        self.values[name] = squeezed(np.asarray(labels))

    def slot(self, name: str, axis: int, labels: Any) -> None:
        """Ties an axis of a stored tensor to labels; two uses of one tensor are joined."""
        extent = self.stored_shape(name)[axis]
        given = np.broadcast_to(np.asarray(labels), (extent,))
        key = (name, axis)
        if key in self.slots:
            self.labels.join(self.slots[key], given)
        else:
            self.slots[key] = np.array(given)

    def refuse(self, node: Any, reason: str) -> None:
        """Fixes everything that a node reads, and leaves what it makes fixed."""
        touched = False
        for name in node.input:
            if name in self.values:
                touched |= bool((self.labels.roots(self.values[name]) != FIXED).any())
                self.labels.fix(self.values[name], f"{node.name} ({node.op_type}): {reason}")
            elif self.is_stored(name):
                for axis in range(len(self.stored_shape(name))):
                    if (name, axis) in self.slots:
                        self.labels.fix(self.slots[name, axis], f"{node.name}: {reason}")
                    self.slot(name, axis, FIXED)
        if touched:
            self.refused[node.name] = reason
