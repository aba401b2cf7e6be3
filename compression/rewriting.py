"""An ONNX graph that can be changed: nodes, constants and who reads what.

Nodes may be added anywhere; ``finish`` drops what nothing reads any more and puts the rest
in topological order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from lwprof.errors import ModelError
from lwprof.profiler.graph import Graph
from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.scopes import subgraphs


class Rewriting:
    """One model being rewritten; the graph it is made from stays as it is.

    Args:
        graph: a model that was read, with its weights written out.

    Attributes:
        graph: the original.
        replacement: a whole model that takes the place of the rewritten one, where set.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.replacement: Any = None
        self._nodes = [_copy(node) for node in graph.proto.graph.node]
        self._ranks = {id(node): float(i) for i, node in enumerate(self._nodes)}
        self._stored = {tensor.name: tensor for tensor in graph.proto.graph.initializer}
        self._arrays: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._names = set(graph.tensors) | set(self._stored)
        self._node_names = {node.name for node in self._nodes}
        self._pinned = {value.name for value in graph.proto.graph.output}
        for node in self._nodes:
            self._pinned |= {name for body in subgraphs(node) for name in _captured(body)}
        self._index: tuple[dict[str, Any], dict[str, list[Any]]] | None = None

    @property
    def nodes(self) -> list[Any]:
        """The nodes as they are now; a list of its own, safe to walk while changing."""
        return list(self._nodes)

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max((i.version for i in self.graph.proto.opset_import
                    if i.domain in ("", "ai.onnx")), default=1)  # fmt: skip

    def producer(self, name: str) -> Any | None:
        """The node that makes a value; None for inputs and constants."""
        return self._indexed()[0].get(name)

    def consumers(self, name: str) -> list[Any]:
        """Nodes that read a value, once per reading input."""
        return self._indexed()[1].get(name, [])

    def is_private(self, name: str) -> bool:
        """Whether exactly one node reads a value, and neither the caller nor a body does."""
        return name not in self._pinned and len(self.consumers(name)) == 1

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value, where all of it is known."""
        if name in self._shapes:
            return self._shapes[name]
        tensor = self.graph.tensors.get(name)
        if tensor is None or tensor.shape is None or None in tensor.shape:
            return None
        return tuple(extent for extent in tensor.shape if extent is not None)

    def constant(self, name: str) -> Any | None:
        """The array behind a name, where it is stored in the model; None otherwise."""
        if not name:
            return None
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def add_constant(self, array: Any, hint: str) -> str:
        """Stores an array under a fresh name, which is returned."""
        name = self.fresh(hint)
        self._arrays[name] = array
        self._stored[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._shapes[name] = tuple(array.shape)
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        shape: Sequence[int] | None = None,
        *,
        output: str | None = None,
        hint: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node with one output, whose name is returned.

        Args:
            shape: of the output, where known.
            output: its name, when it takes the place of an existing value.
        """
        result = output or self.fresh(f"{hint or kind}_out")
        name = self._fresh_node(hint or kind)
        node = onnx.helper.make_node(kind, list(inputs), [result], name=name, **attributes)
        makers = (self.producer(name) for name in inputs)
        before = max((self._ranks[id(maker)] for maker in makers if maker is not None), default=-1)
        self._ranks[id(node)] = before + 1e-3
        self._nodes.append(node)
        self._index = None
        if shape is not None:
            self._shapes[result] = tuple(shape)
        return result

    def remove(self, *nodes: Any) -> None:
        """Takes nodes out; their outputs must be made by others before ``finish``."""
        gone = {id(node) for node in nodes}
        self._nodes = [node for node in self._nodes if id(node) not in gone]
        self._index = None

    def set_input(self, node: Any, place: int, name: str) -> None:
        """Lets a node read another value; missing optional inputs are filled up."""
        while len(node.input) <= place:
            node.input.append("")
        node.input[place] = name
        self._index = None

    def reroute(self, old: str, new: str) -> None:
        """Lets every reader of ``old`` read ``new``; ``old`` must not be a graph output.

        Raises:
            ModelError: the caller or a body reads ``old``.
        """
        if old in self._pinned:
            raise ModelError(f"{self.graph.name}: {old} leaves the graph and cannot be renamed")
        for node in self.consumers(old):
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new
        self._index = None

    def fresh(self, hint: str) -> str:
        """A value name that nothing has."""
        return _fresh(hint, self._names)

    def finish(self) -> Any:
        """The model as it is now.

        Returns:
            an ``onnx.ModelProto`` that shares nothing with the original.
        """
        if self.replacement is not None:
            return self.replacement
        source = self.graph.proto
        model = onnx.ModelProto()
        model.ir_version = source.ir_version
        model.producer_name = source.producer_name
        model.opset_import.extend(source.opset_import)
        model.functions.extend(source.functions)
        kept = self._alive()
        model.graph.name = source.graph.name
        model.graph.node.extend(kept)
        model.graph.input.extend(source.graph.input)
        model.graph.output.extend(source.graph.output)
        read = {name for node in kept for name in node.input} | self._pinned
        model.graph.initializer.extend(t for name, t in self._stored.items() if name in read)
        return model

    def _alive(self) -> list[Any]:
        """Nodes that an output needs, topologically sorted, as near the old order as can be.

        The order decides how much memory is alive at once, so it is not left to chance.
        """
        made = {name: node for node in self._nodes for name in node.output if name}
        needed: dict[int, Any] = {}
        waiting = [made[name] for name in self._pinned if name in made]
        while waiting:
            node = waiting.pop()
            if id(node) not in needed:
                needed[id(node)] = node
                waiting.extend(self._needs(node, made))
        blocked = {key: {id(n) for n in self._needs(node, made)} for key, node in needed.items()}
        readers: dict[int, list[int]] = {}
        for key, sources in blocked.items():
            for source in sources:
                readers.setdefault(source, []).append(key)
        rank = {id(node): (self._ranks[id(node)], i) for i, node in enumerate(self._nodes)}
        ready = [(rank[key], key) for key, sources in blocked.items() if not sources]
        heapq.heapify(ready)
        order: list[Any] = []
        while ready:
            _, key = heapq.heappop(ready)
            order.append(needed[key])
            for reader in readers.get(key, ()):
                blocked[reader].discard(key)
                if not blocked[reader]:
                    heapq.heappush(ready, (rank[reader], reader))
        if len(order) != len(needed):
            raise ModelError(f"{self.graph.name}: a rewrite made a loop in the graph")
        return order

    @staticmethod
    def _needs(node: Any, made: Mapping[str, Any]) -> list[Any]:
        names = [*node.input, *(n for body in subgraphs(node) for n in _captured(body))]
        return [made[name] for name in names if name in made]

    def _indexed(self) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        if self._index is None:
            producers: dict[str, Any] = {}
            readers: dict[str, list[Any]] = {}
            for node in self._nodes:
                producers.update(dict.fromkeys(node.output, node))
                for name in node.input:
                    if name:
                        readers.setdefault(name, []).append(node)
            self._index = producers, readers
        return self._index

    def _read(self, name: str) -> Any | None:
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name])
        node = self.producer(name)
        if node is None or node.op_type not in ("Constant", "Identity"):
            return None
        if node.op_type == "Identity":
            return self.constant(node.input[0])
        for attribute in node.attribute:
            if attribute.name == "value":
                return numpy_helper.to_array(attribute.t)
        return None

    def _fresh_node(self, hint: str) -> str:
        return _fresh(hint, self._node_names)


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as plain Python values."""
    return dict(attributes_of(node))


def _copy(node: Any) -> Any:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _fresh(hint: str, taken: set[str]) -> str:
    name, number = hint, 1
    while name in taken:
        number += 1
        name = f"{hint}_{number}"
    taken.add(name)
    return name


def _captured(body: Any) -> Iterator[str]:
    """Names that a body, or a body inside it, reads; its own among them, which does no harm."""
    for node in body.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _captured(inner)
    yield from (value.name for value in body.output)
