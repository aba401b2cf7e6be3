"""Walking a model: every graph in it, every tensor stored in it, without recursion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from onnx import AttributeProto

# By far the most attributes; asking each for its fields would dominate reading. The checker
# refuses an attribute whose type is not that of its content.
_WITHOUT_GRAPHS = frozenset(
    (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.FLOATS,
     AttributeProto.STRING, AttributeProto.STRINGS, AttributeProto.TENSOR)
)  # fmt: skip


def subgraphs(node: Any) -> Iterator[Any]:
    """The bodies that a node carries: branches of If, bodies of Loop and Scan …"""
    return _bodies(node.attribute)


def graphs_of(graph: Any) -> Iterator[Any]:
    """``graph`` and every graph nested in it."""
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for node in current.node:
            if node.attribute:
                waiting.extend(subgraphs(node))


def nodes_of(nodes: Iterable[Any]) -> Iterator[Any]:
    """Every node of a node list, those of nested graphs included."""
    for node in nodes:
        yield node
        for body in subgraphs(node):
            for graph in graphs_of(body):
                yield from graph.node


def all_graphs(model: Any) -> Iterator[Any]:
    """Every graph of a model: the main one, all bodies, and bodies inside functions."""
    yield from graphs_of(model.graph)
    for function in model.functions:
        for node in function.node:
            for body in subgraphs(node):
                yield from graphs_of(body)
        for body in _bodies(function.attribute_proto):
            yield from graphs_of(body)


def stored_tensors(model: Any) -> Iterator[Any]:
    """Every ``TensorProto`` of a model: initialisers, attributes, sparse parts, functions."""
    for graph in all_graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from _tensors(node.attribute)
    for function in model.functions:
        for node in function.node:
            yield from _tensors(node.attribute)
        yield from _tensors(function.attribute_proto)


def _bodies(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        kind = attribute.type
        if kind in _WITHOUT_GRAPHS:
            continue
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)
