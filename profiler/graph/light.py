"""A model without its weights: the same graph, kilobytes instead of megabytes.

The checker, the function inliner and shape inference each serialise the whole model to
cross into C++; on ResNet-18 that is 188 ms with weights and 4 ms without. Large
initialisers and large ``Constant`` nodes become graph inputs of the same type and shape;
small ones stay, because shapes depend on their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import onnx

from lwprof.profiler.graph.elements import NAMES, nbytes

# Values that decide a shape (Reshape, Slice, Resize, Pad …) are far smaller than this.
_KEPT_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Light:
    """What :func:`strip` returns.

    Attributes:
        proto: the model without its large constants.
        heavy: names of the constants that became graph inputs.
        constant_nodes: the large ``Constant`` nodes that were taken out.
    """

    proto: Any
    heavy: frozenset[str]
    constant_nodes: tuple[Any, ...]


def strip(model: Any) -> Light:
    """A copy of ``model`` whose large constants are graph inputs; ``model`` is unchanged."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    source, graph = model.graph, light.graph
    graph.name = source.name
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    graph.sparse_initializer.extend(source.sparse_initializer)
    heavy: set[str] = set()
    for tensor in source.initializer:
        if not _is_large(tensor):
            graph.initializer.append(tensor)
        else:
            graph.input.append(_as_input(tensor.name, tensor))
            heavy.add(tensor.name)
    taken = []
    for node in source.node:
        value = large_constant(node)
        if value is None:
            graph.node.append(node)
        else:
            graph.input.append(_as_input(node.output[0], value))
            heavy.add(node.output[0])
            taken.append(node)
    return Light(light, frozenset(heavy), tuple(taken))


def large_constant(node: Any) -> Any:
    """The tensor of a ``Constant`` node whose value is large, else None."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and _is_large(attribute.t):
            return attribute.t
    return None


def _is_large(tensor: Any) -> bool:
    # By its shape: asking protobuf for the size would serialise the values.
    size = nbytes(NAMES.get(tensor.data_type), prod(tensor.dims))
    return size is not None and size > _KEPT_BYTES


def _as_input(name: str, tensor: Any) -> Any:
    return onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
