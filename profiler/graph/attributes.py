"""Attributes of a node as plain Python values."""

from __future__ import annotations

from typing import Any

from onnx import AttributeProto

_SCALARS = {
    AttributeProto.FLOAT: "f", AttributeProto.INT: "i",
    AttributeProto.TENSOR: "t", AttributeProto.GRAPH: "g",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor", AttributeProto.TYPE_PROTO: "tp",
}  # fmt: skip
_LISTS = {
    AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints",
    AttributeProto.TENSORS: "tensors", AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors", AttributeProto.TYPE_PROTOS: "type_protos",
}  # fmt: skip


def attributes_of(node: Any) -> dict[str, Any]:
    """Name → int, float, str, list of those; tensors and graphs stay protobuf messages.

    Byte strings become text; bytes that are not UTF-8 keep one character per byte.
    """
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = attribute.type
        if kind in _SCALARS:
            found[attribute.name] = getattr(attribute, _SCALARS[kind])
        elif kind in _LISTS:
            found[attribute.name] = list(getattr(attribute, _LISTS[kind]))
        elif kind == AttributeProto.STRING:
            found[attribute.name] = _text(attribute.s)
        elif kind == AttributeProto.STRINGS:
            found[attribute.name] = [_text(value) for value in attribute.strings]
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
