"""Bodies of If, Loop and Scan as JSON without names, and what they take from outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.graph.inference import tensor_from_type
from lwprof.profiler.graph.scopes import subgraphs
from lwprof.profiler.kernels.attributes import cleaned, encode_tensor
from lwprof.profiler.kernels.values import Call, join_type


def has_bodies(node: Any) -> bool:
    """True for If, Loop, Scan and their like."""
    return any(True for _ in subgraphs(node))


def captured_names(node: Any) -> list[str]:
    """Names that the bodies of ``node`` use from the graph around it, in order of first use."""
    found: dict[str, None] = {}
    for body in subgraphs(node):
        for name in _free_names(body):
            found.setdefault(name)
    return list(found)


def _free_names(graph: Any) -> Iterable[str]:
    known = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    known |= {sparse.values.name for sparse in graph.sparse_initializer}
    free: dict[str, None] = {}
    for node in graph.node:
        for name in (*node.input, *captured_names(node)):
            if name and name not in known:
                free.setdefault(name)
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            free.setdefault(value.name)
    return free


def encoded_attributes(node: Any) -> dict[str, Any]:
    """The attributes of ``node`` with every body replaced by its description.

    In a body, ``"i1"`` is its input 1, ``"c0"`` a constant, ``"2.0"`` output 0 of its
    node 2 and ``"o3"`` the fourth of the names captured from around it.
    """
    outer = {name: f"o{i}" for i, name in enumerate(captured_names(node))}
    found = attributes_of(node)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found[attribute.name] = {"body": _encode(attribute.g, outer)}
        elif attribute.graphs:
            found[attribute.name] = {"bodies": [_encode(g, outer) for g in attribute.graphs]}
    return found


def _encode(graph: Any, outer: dict[str, str]) -> dict[str, Any]:
    scope = dict(outer)
    scope.update({value.name: f"i{i}" for i, value in enumerate(graph.input)})
    constants: list[dict[str, Any]] = []
    for tensor in graph.initializer:
        scope[tensor.name] = f"c{len(constants)}"
        constants.append(encode_tensor(tensor))
    for sparse in graph.sparse_initializer:
        scope[sparse.values.name] = f"c{len(constants)}"
        dtype = NAMES.get(sparse.values.data_type) or "unknown"
        constants.append({"dtype": dtype, "shape": [int(e) for e in sparse.dims]})
    nodes: list[dict[str, Any]] = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            scope[node.output[0]] = f"c{len(constants)}"
            constants.append(encode_tensor(value))
            continue
        nodes.append(_encode_node(node, scope))
        for j, name in enumerate(node.output):
            scope[name] = f"{len(nodes) - 1}.{j}"
    return {
        "inputs": [_type(value) for value in graph.input],
        "constants": constants,
        "nodes": nodes,
        "outputs": [{**_type(v), "from": scope.get(v.name, "")} for v in graph.output],
    }


def _encode_node(node: Any, scope: dict[str, str]) -> dict[str, Any]:
    op = join_type(node.domain, node.op_type)
    found: dict[str, Any] = {
        "op": op,
        "attributes": cleaned(Call(op, encoded_attributes(node), (), ())),
        "inputs": [scope.get(name, "") for name in node.input],
        "outputs": [bool(name) for name in node.output],
    }
    captured = captured_names(node)
    if captured:
        found["captured"] = [scope.get(name, "") for name in captured]
    return found


def _type(value: Any) -> dict[str, Any]:
    tensor = tensor_from_type(value.name, value.type)
    found: dict[str, Any] = {
        "dtype": tensor.dtype,
        "shape": None if tensor.shape is None else list(tensor.shape),
    }
    if tensor.kind != "tensor":
        found["kind"] = tensor.kind
    return found
