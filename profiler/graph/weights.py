"""Generated weights written out, so that a model is timed as if it stored them.

Some files hold a large weight as ``ConstantOfShape``: kilobytes instead of megabytes. Equal
weights everywhere would let a runtime merge convolutions, and values that shrink or grow
from layer to layer end in denormals or infinities, which are slow in themselves. So every
generated weight becomes an initialiser of seeded random values, scaled by its role (He et
al., 2015, for convolutions and products), and generated statistics of normalisations become
ordinary ones: mean near 0, variance near 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any, overload

import numpy as np
import onnx

from lwprof.errors import ModelError
from lwprof.profiler.graph.elements import NUMBERS
from lwprof.profiler.graph.loading import MAX_BYTES
from lwprof.profiler.graph.model import Graph, Operator, Tensor
from lwprof.profiler.graph.roles import VIEWS, is_weight

_FLOATS = {"float32": np.float32, "float64": np.float64, "float16": np.float16}
# One pool of random numbers serves all weights, each from its own place and sign: no runtime
# looks for likeness inside a tensor, and 10⁸ fresh numbers would take seconds. A prime
# length keeps rows of a matrix apart.
_POOL = 1_048_573


@dataclass(frozen=True, slots=True)
class _Role:
    """Where a generated weight ends up: operator, input place and the shape it has there."""

    operator: Operator
    place: int
    shape: tuple[int, ...]


@overload
def materialise(graph: Graph, seed: int = 0) -> Graph: ...


@overload
def materialise(graph: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto: ...


def materialise(graph: Any, seed: int = 0) -> Any:
    """The same model with generated weights as seeded random initialisers.

    Names, shapes and costs stay as they are; the nodes that generated the weights are gone.
    A model that generates none comes back unchanged.

    Args:
        graph: what ``read`` returned, or a ``ModelProto``, which is read first.
        seed: same seed, same weights.

    Raises:
        ModelError: the weights would make the model larger than 2 GiB.
    """
    if isinstance(graph, onnx.ModelProto):
        from lwprof.profiler.graph.reading import read

        return materialise(read(graph), seed).proto
    roles = _generated(graph)
    if not roles:
        return graph
    proto = _written_out(graph, roles, seed)
    used = {node.name for node in proto.graph.node}
    kept = [operator for operator in graph.operators if operator.name in used]
    key = hashlib.sha256(f"{graph.key} weights {seed}".encode()).hexdigest()
    return replace(
        graph,
        proto=proto,
        operators=tuple(replace(operator, index=i) for i, operator in enumerate(kept)),
        generated=(),
        key=key,
    )


def _generated(graph: Graph) -> dict[str, _Role]:
    """Generated weights and statistics by name, with their role."""
    readers: dict[str, list[tuple[Operator, int]]] = {}
    for operator in graph.operators:
        for place, name in enumerate(operator.inputs):
            readers.setdefault(name, []).append((operator, place))
    found = {}
    for operator in graph.operators:
        if operator.type != "ConstantOfShape" or operator.domain or not operator.outputs:
            continue
        name = operator.outputs[0]
        if name not in graph.generated or graph.tensors[name].dtype not in _FLOATS:
            continue
        role = _role(graph.tensors[name], readers, graph.tensors)
        if role is not None:
            found[name] = role
    return found


def _role(
    tensor: Tensor,
    readers: Mapping[str, list[tuple[Operator, int]]],
    tensors: Mapping[str, Tensor],
) -> _Role | None:
    """The first reader that uses the value as a weight or statistic, behind any views."""
    elements, waiting = tensor.elements, [tensor.name]
    while waiting and elements is not None:
        name = waiting.pop()
        for operator, place in readers.get(name, ()):
            if operator.type in VIEWS and place == 0:
                waiting.extend(operator.outputs)
                continue
            known = tensors[name].shape or ()
            shape = tuple(extent or 1 for extent in known)
            statistic = operator.type == "BatchNormalization" and place > 0
            if statistic or is_weight(operator.type, place, tensor.dtype or "", elements, None):
                return _Role(operator, place, shape)
    return None


def _written_out(graph: Graph, roles: Mapping[str, _Role], seed: int) -> Any:
    total = graph.proto.ByteSize() + sum(
        (graph.tensors[name].elements or 0)
        * np.dtype(_FLOATS[graph.tensors[name].dtype or ""]).itemsize
        for name in roles
    )
    if total > MAX_BYTES:
        raise ModelError(
            f"{graph.name} would be {total / 2**30:.3g} GiB with its weights written out; "
            "a model that is run can have 2 GiB"
        )
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    kept = [node for node in graph.proto.graph.node if not roles.keys() & set(node.output)]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    _drop_unread(proto.graph)
    random = np.random.Generator(np.random.SFC64(seed))
    pool = np.clip(random.standard_normal(_POOL, dtype=np.float32), -3, 3)
    for name, role in roles.items():
        tensor = graph.tensors[name]
        start = int(random.integers(_POOL))
        elements = tensor.elements or 0
        values = np.resize(np.roll(pool, -start)[: max(elements, 1)], elements)
        scaled = _scaled(values, role).astype(_FLOATS[tensor.dtype or ""], copy=False)
        scaled[np.abs(scaled) < np.finfo(scaled.dtype).tiny] = 0  # no denormals in float16
        stored = proto.graph.initializer.add(name=name, dims=tensor.shape or ())
        stored.data_type = NUMBERS[tensor.dtype or ""]
        stored.raw_data = scaled.tobytes()
    return proto


def _drop_unread(graph: Any) -> None:
    """Takes out initialisers that only the removed nodes read."""
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    if any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute):
        return  # a body may capture them
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) != len(graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def _scaled(values: Any, role: _Role) -> Any:
    """Standard normal numbers turned into what suits a role."""
    kind, place = role.operator.type, role.place
    normalisation = kind.endswith("Normalization")
    if kind == "BatchNormalization" and place == 4:  # variance
        return np.float32(1) + values * np.float32(1 / 6)
    if (normalisation and place == 1) or kind in ("Mul", "Div"):  # scales
        return np.float32(1) + values * np.float32(0.1)
    if kind == "PRelu":
        return np.float32(0.25) + values * np.float32(0.05)
    if normalisation or kind in ("Add", "Sub", "Sum", "Concat") or _is_bias(kind, place):
        return values * np.float32(0.1)
    return values * np.float32(sqrt(_gain(kind) / max(_fan_in(role), 1)))


def _is_bias(kind: str, place: int) -> bool:
    return place == 2 and kind in ("Conv", "ConvTranspose", "Gemm", "DeformConv")


def _gain(kind: str) -> float:
    # He: half of a rectified activation is lost; nothing is in gates and embeddings.
    return 2.0 if kind in ("Conv", "ConvTranspose", "Gemm", "MatMul", "DeformConv") else 1.0


def _fan_in(role: _Role) -> int:
    """Products that are summed into one output."""
    kind, shape, place = role.operator.type, role.shape, role.place
    attributes = role.operator.attributes
    if kind in ("Conv", "DeformConv"):
        return prod(shape[1:])
    if kind == "ConvTranspose":
        strides = attributes.get("strides") or [1]
        per_output = attributes.get("group", 1) * prod(strides)
        return max(1, shape[0] * prod(shape[2:]) // int(per_output))
    if kind == "Gemm" and len(shape) == 2:
        transposed = attributes.get("transB" if place else "transA", 0)
        return shape[1] if bool(transposed) == bool(place) else shape[0]
    if kind == "MatMul" and len(shape) >= 2:
        return shape[-2] if place else shape[-1]
    return shape[-1] if shape else 1
