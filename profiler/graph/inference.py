"""Types and shapes of every value of a graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from lwprof.errors import ModelError
from lwprof.profiler.graph import contrib
from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.graph.folding import Array, fold
from lwprof.profiler.graph.guard import check_tensor_size
from lwprof.profiler.graph.messages import ONNX_ERRORS, one_line
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.order import read_names
from lwprof.profiler.graph.scopes import subgraphs
from lwprof.profiler.graph.unfolding import choose_branches, hold_loops, replace_known

# Each round can open what the next one needs; real exporters' shape programs take one or two.
_MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Inferred:
    """What inference found out.

    Attributes:
        graph: the light graph with ``value_info``; nodes whose value is known may have
            become ``Constant``, and an ``If`` that is decided its branch.
        tensors: every value by name, ``constant`` not yet set.
        values: small values known before any input is.
    """

    graph: Any
    tensors: dict[str, Tensor]
    values: dict[str, Array]


def infer(light: Any, where: str) -> Inferred:
    """Infers a light model until nothing new is learned; changes ``light`` as it goes.

    Raises:
        ModelError: shapes or types contradict each other, or a value is too large.
    """
    vendor = any(opset.domain == contrib.VENDOR for opset in light.opset_import)
    if not contrib.to_private(light.graph, vendor):
        return _infer(light, where)
    light.opset_import.add(domain=contrib.DOMAIN, version=1)
    try:
        return _infer(light, where)
    finally:
        contrib.deregister()


def _infer(light: Any, where: str) -> Inferred:
    values: dict[str, Array] = {}
    for _ in range(_MAX_ROUNDS):
        graph = _infer_once(light, where).graph
        tensors = tensors_of(graph)
        if not _open(graph, tensors):
            break
        values = fold(graph, tensors)
        # All three look, hence no short-circuit.
        learned = [
            replace_known(light.graph, values),
            choose_branches(light.graph, values),
            hold_loops(light, tensors, lambda model: _infer_once(model, where).graph),
        ]
        if not any(learned):
            break
    for tensor in tensors.values():
        extents = [extent for extent in tensor.shape or () if extent is not None]
        check_tensor_size(tensor.name, tensor.dtype, extents, where)
    # Beyond shapes, only conditions and trip counts of bodies depend on values.
    if any(True for node in graph.node for _ in subgraphs(node)):
        values |= fold(graph, tensors)
    return Inferred(graph, tensors, values)


def _infer_once(light: Any, where: str) -> Any:
    try:
        return onnx.shape_inference.infer_shapes(
            light, check_type=True, strict_mode=True, data_prop=True
        )
    except ONNX_ERRORS as error:
        text = (
            one_line(error)
            .replace("[ShapeInferenceError] ", "")
            .replace("[TypeInferenceError] ", "")
        )
        text = text.removeprefix("Inference error(s): ").replace(f"{contrib.DOMAIN}:", "")
        raise ModelError(f"{where}: shapes or types do not fit together: {text}") from error


def _open(graph: Any, tensors: Mapping[str, Tensor]) -> bool:
    """True when a value that anything reads has an unknown extent."""
    unknown = {
        tensor.name
        for tensor in tensors.values()
        if tensor.kind == "tensor" and (tensor.shape is None or None in tensor.shape)
    }
    return bool(unknown) and not unknown.isdisjoint(read_names(graph))


def tensors_of(graph: Any, outer: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Every named value of an inferred graph; of a body together with what surrounds it."""
    found: dict[str, Tensor] = dict(outer or {})
    for tensor in graph.initializer:
        dtype = NAMES.get(tensor.data_type) or None
        found[tensor.name] = Tensor(tensor.name, dtype, tuple(tensor.dims), True)
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        dtype = NAMES.get(sparse.values.data_type) or None
        found[name] = Tensor(name, dtype, tuple(sparse.dims), True, "sparse")
    own = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.name in own:
            continue
        own.add(value.name)
        tensor = tensor_from_type(value.name, value.type)
        # The values of a decided If's branch are known outside of it, and better.
        if tensor.elements is not None or value.name not in found:
            found[value.name] = tensor
    for node in graph.node:
        for name in node.output:
            if name and name not in own:
                found.setdefault(name, Tensor(name, None, None))
    return found


def tensor_from_type(name: str, kind: Any) -> Tensor:
    """A :class:`Tensor` from a ``TypeProto``; containers carry their element's type and shape."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        inner = getattr(kind, which)
        label = "tensor" if which == "tensor_type" else "sparse"
        return Tensor(name, NAMES.get(inner.elem_type) or None, _shape(inner), False, label)
    if which in ("sequence_type", "optional_type"):
        element = tensor_from_type(name, getattr(kind, which).elem_type)
        return Tensor(name, element.dtype, element.shape, False, which.removesuffix("_type"))
    return Tensor(name, None, None, False, "map" if which == "map_type" else "tensor")


def mark_constant(tensors: dict[str, Tensor], constant: Collection[str]) -> None:
    """Sets ``constant`` on the named values, in place."""
    for name in constant:
        old = tensors.get(name)
        if old is not None and not old.constant:
            tensors[name] = Tensor(name, old.dtype, old.shape, True, old.kind)


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in tensor.shape.dim
    )
