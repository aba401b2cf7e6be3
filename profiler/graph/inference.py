"""Types and shapes of every value of a graph."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import onnx

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.graph.messages import one_line
from lwprof.profiler.graph.model import Tensor


def infer(light: Any, where: str) -> Any:
    """The model with ``value_info`` for every value that inference understands.

    Raises:
        ModelError: shapes or types contradict each other.
    """
    try:
        return onnx.shape_inference.infer_shapes(
            light, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # onnx raises its own classes, RuntimeError and ValueError
        raise ModelError(f"{where}: shapes do not fit: {one_line(error)}") from error


def tensors_of(graph: Any, constant: Collection[str]) -> dict[str, Tensor]:
    """Every named value of an inferred graph.

    Args:
        graph: an inferred ``GraphProto``.
        constant: names of values known before any input is.
    """
    found: dict[str, Tensor] = {}
    for tensor in graph.initializer:
        found[tensor.name] = Tensor(
            tensor.name, NAMES.get(tensor.data_type) or None, tuple(tensor.dims), True
        )
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        dtype = NAMES.get(sparse.values.data_type) or None
        found[name] = Tensor(name, dtype, tuple(sparse.dims), True, "sparse")
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = tensor_from_type(value.name, value.type, value.name in constant)
        known = found.get(value.name)
        if known is None or (known.shape is None and tensor.shape is not None):
            found[value.name] = tensor
    for node in graph.node:
        for name in node.output:
            if name and name not in found:
                found[name] = Tensor(name, None, None, name in constant)
    return found


def tensor_from_type(name: str, kind: Any, constant: bool = False) -> Tensor:
    """A :class:`Tensor` from a ``TypeProto``; containers carry their element's type and shape."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        inner = getattr(kind, which)
        return Tensor(
            name,
            NAMES.get(inner.elem_type) or None,
            _shape(inner),
            constant,
            "tensor" if which == "tensor_type" else "sparse",
        )
    if which in ("sequence_type", "optional_type"):
        inner = tensor_from_type(name, getattr(kind, which).elem_type)
        return Tensor(name, inner.dtype, inner.shape, constant, which.removesuffix("_type"))
    return Tensor(name, None, None, constant, "map" if which == "map_type" else "tensor")


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in tensor.shape.dim
    )
