"""What is checked before anything else looks at a model: sizes, names, stored values, order.

A model file is untrusted. These checks are linear in its size, so that whatever comes
after them (the ONNX checker, inlining, shape inference) works on something bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import onnx
from onnx import TensorProto

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NAMES, nbytes
from lwprof.profiler.graph.messages import quoted
from lwprof.profiler.graph.scopes import all_graphs, nodes_of, stored_tensors, subgraphs

MAX_NODES = 200_000
# One value of a graph; ordinary networks stay three orders below.
MAX_TENSOR_BYTES = 2**33
_MAX_EXPANDED_BYTES = 2**29
_MAX_FUNCTION_DEPTH = 64
_MAX_NESTING = 32


def guard(model: Any, where: str) -> None:
    """Refuses a model that is too large, unreadable or inconsistent in itself.

    Raises:
        ModelError: says what is wrong and where.
    """
    if not model.HasField("graph"):
        raise ModelError(f"{where} holds no graph: it is not an ONNX model, or an empty one")
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise ModelError(
            f"{where} says IR version {model.ir_version}; the installed onnx knows 1 to "
            f"{onnx.IR_VERSION}: the file is corrupt, or needs a newer onnx"
        )
    _check_opsets(model, where)
    _check_size(model, where)
    for graph in all_graphs(model):
        _check_names(graph, where)
    for function in model.functions:
        _all_text((function.name, function.domain, *function.input, *function.output), where)
        _check_nodes(function.node, where)
    for tensor in stored_tensors(model):
        _check_stored(tensor, where)
    _check_functions(model, where)


def _check_opsets(model: Any, where: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        _all_text((opset.domain,), where)
        if opset.domain in ("", "ai.onnx") and opset.version > newest:
            raise ModelError(
                f"{where} uses opset {opset.version}; the installed onnx knows up to {newest}: "
                "upgrade onnx, or export the model with an older opset"
            )


def _check_size(model: Any, where: str) -> None:
    count = sum(1 for _ in nodes_of(model.graph.node))
    count += sum(1 for function in model.functions for _ in nodes_of(function.node))
    if count > MAX_NODES:
        raise ModelError(f"{where} has {count} nodes; at most {MAX_NODES} are read")
    level, depth = [model.graph], 0
    while level:
        depth += 1
        if depth > _MAX_NESTING:
            raise ModelError(f"{where} nests graphs more than {_MAX_NESTING} deep")
        level = [body for graph in level for node in graph.node for body in subgraphs(node)]


def _check_names(graph: Any, where: str) -> None:
    _all_text((tensor.name for tensor in graph.initializer), where)
    _all_text((sparse.values.name for sparse in graph.sparse_initializer), where)
    for value in (*graph.input, *graph.output, *graph.value_info):
        _all_text((value.name,), where)
        _check_type(value, where)
    _all_text((graph.name,), where)
    _check_nodes(graph.node, where)


def _check_nodes(nodes: Iterable[Any], where: str) -> None:
    for node in nodes:
        _all_text((node.name, node.op_type, node.domain, *node.input, *node.output), where)
        _all_text((attribute.name for attribute in node.attribute), where)


def _all_text(names: Iterable[Any], where: str) -> None:
    for name in names:
        if type(name) is not str:  # protobuf hands out bytes where it could not decode
            raise ModelError(
                f"{where} has a name that is not UTF-8 ({name[:40]!r}): "
                "the file is corrupt, or was written by a faulty exporter"
            )


def _check_type(value: Any, where: str) -> None:
    if value.type.WhichOneof("value") != "tensor_type":
        return
    tensor = value.type.tensor_type
    extents = []
    for dim in tensor.shape.dim:
        _all_text((dim.dim_param,), where)
        if dim.HasField("dim_value"):
            if dim.dim_value < -1:
                raise ModelError(
                    f"{where}: value {quoted(value.name)} has a negative extent ({dim.dim_value})"
                )
            extents.append(max(dim.dim_value, 1))
    check_tensor_size(value.name, NAMES.get(tensor.elem_type), extents, where)


def check_tensor_size(name: str, dtype: str | None, extents: Iterable[int], where: str) -> None:
    """Refuses a value whose known extents alone make it too large.

    Raises:
        ModelError: more than ``MAX_TENSOR_BYTES``.
    """
    size = nbytes(dtype or "float32", prod(extents)) or 0
    if size > MAX_TENSOR_BYTES:
        raise ModelError(
            f"{where}: value {quoted(name)} would take {size / 2**30:.4g} GiB; "
            f"at most {MAX_TENSOR_BYTES >> 30} GiB are accepted"
        )


# Where a tensor keeps its values when not in raw_data, and values per element.
_TYPED = {
    TensorProto.FLOAT: ("float_data", 1), TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1), TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1), TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1), TensorProto.STRING: ("string_data", 1),
}  # fmt: skip


def _check_stored(tensor: Any, where: str) -> None:
    """A tensor's values must be as many as its shape says; nothing else may read past them."""
    name = quoted(tensor.name or "(unnamed)")
    if tensor.data_location == TensorProto.EXTERNAL:
        return  # its length is checked where it is read
    if tensor.data_type not in NAMES or tensor.data_type == TensorProto.UNDEFINED:
        raise ModelError(
            f"{where}: constant {name} has the unknown element type {tensor.data_type}"
        )
    if any(extent < 0 for extent in tensor.dims):
        raise ModelError(f"{where}: constant {name} has a negative extent: {list(tensor.dims)}")
    elements = prod(tensor.dims)
    needed = nbytes(NAMES[tensor.data_type], elements)
    if tensor.HasField("raw_data"):
        held, wanted = len(tensor.raw_data), needed
    else:
        field, per_element = _TYPED.get(tensor.data_type, ("int32_data", 1))
        held, wanted = len(getattr(tensor, field)), elements * per_element
        if NAMES[tensor.data_type].endswith(("int4", "int2", "float4e2m1")):
            wanted = needed or 0  # several such values share one entry
    if held != wanted:
        raise ModelError(
            f"{where}: constant {name} of shape {list(tensor.dims)} holds {held} "
            f"{'bytes' if tensor.HasField('raw_data') else 'values'} where {wanted} belong: "
            "the file is truncated or corrupt"
        )


def _check_functions(model: Any, where: str) -> None:
    """Bounds what inlining would produce; functions that double each other grow fast."""
    if not model.functions:
        return
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[tuple[str, str, str], tuple[int, int]] = {}

    def expanded(nodes: Iterable[Any], depth: int) -> tuple[int, int]:
        if depth > _MAX_FUNCTION_DEPTH:
            raise ModelError(f"{where}: local functions call each other too deeply, or in a circle")
        count = size = 0
        for node in nodes_of(nodes):
            key = (node.domain, node.op_type, node.overload)
            if key not in bodies:
                count, size = count + 1, size + node.ByteSize()
                continue
            if key not in sizes:
                sizes[key] = expanded(bodies[key].node, depth + 1)
            count, size = count + sizes[key][0], size + sizes[key][1]
        return count, size

    count, size = expanded(model.graph.node, 0)
    if count > MAX_NODES or size > _MAX_EXPANDED_BYTES:
        raise ModelError(
            f"{where}: its local functions expand to {count} nodes and {size} bytes; "
            f"at most {MAX_NODES} nodes and {_MAX_EXPANDED_BYTES} bytes are accepted"
        )
