"""A runtime's optimised graph, seen as nodes that make tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.errors import DeviceError
from lwprof.profiler.kernels.values import join_type, split_type

NCHWC_DOMAIN = "com.microsoft.nchwc"

# What a runtime inserts to change layouts, types and quantisation; it inserts nothing else.
_INSERTABLE = frozenset(
    {f"{NCHWC_DOMAIN}.ReorderInput", f"{NCHWC_DOMAIN}.ReorderOutput", "Transpose", "Cast",
     "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "QuantizeLinear",
     "DequantizeLinear", "MemcpyFromHost", "MemcpyToHost", "com.microsoft.QuantizeLinear",
     "com.microsoft.DequantizeLinear"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the optimised graph.

    Attributes:
        place: its position, which is its place in the order of execution.
        op: type with its domain in front.
        name: as in the file, "" where ONNX Runtime left it empty.
        proto: the ``NodeProto``.
    """

    place: int
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: Any

    @property
    def insertable(self) -> bool:
        """True for operators that only change how data lies in memory."""
        return self.op in _INSERTABLE

    @property
    def rearranges(self) -> bool:
        """True for insertable operators whose result has other extents than their input."""
        return self.op in ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")

    @property
    def reorders(self) -> bool:
        """True for changes between the plain and the blocked layout."""
        return self.op in (f"{NCHWC_DOMAIN}.ReorderInput", f"{NCHWC_DOMAIN}.ReorderOutput")

    @property
    def channels_last(self) -> bool:
        """True where the plain side has its channels last."""
        return any(a.name == "channels_last" and a.i for a in self.proto.attribute)

    @property
    def plain_type(self) -> str:
        """The type without its domain."""
        return split_type(self.op)[1]


class Optimised:
    """Nodes in order of execution, who makes and who reads each tensor, the constants."""

    def __init__(self, model: Any) -> None:
        """Indexes a ``ModelProto``.

        Raises:
            DeviceError: it is not a graph whose nodes are in order.
        """
        graph = model.graph
        self.nodes: tuple[Node, ...] = tuple(
            Node(
                place,
                join_type(node.domain, node.op_type),
                node.name,
                tuple(node.input),
                tuple(node.output),
                node,
            )
            for place, node in enumerate(graph.node)
        )
        self.constants: Mapping[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.sparse: Mapping[str, Any] = {t.values.name: t for t in graph.sparse_initializer}
        self.inputs: tuple[Any, ...] = tuple(graph.input)
        self.opset: int = next(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 17
        )
        self.producer: dict[str, int] = {}
        self.consumers: dict[str, list[tuple[int, int]]] = {}
        for node in self.nodes:
            for slot, name in enumerate(node.inputs):
                if name:
                    self.consumers.setdefault(name, []).append((node.place, slot))
            for name in node.outputs:
                if name:
                    self.producer[name] = node.place
        late = next(
            (
                n
                for node in self.nodes
                for n in node.inputs
                if self.producer.get(n, -1) > node.place
            ),
            None,
        )
        if late is not None:
            raise DeviceError(
                f"the runtime's optimised graph is not in order (tensor {late!r} is read before "
                "it is made): update the runtime on the device"
            )
