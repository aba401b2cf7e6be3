"""``read``: from a file to a checked graph with concrete shapes and costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from lwprof.errors import ModelError
from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.graph.inference import infer, tensors_of
from lwprof.profiler.graph.light import strip
from lwprof.profiler.graph.loading import load
from lwprof.profiler.graph.macs import macs
from lwprof.profiler.graph.messages import one_line
from lwprof.profiler.graph.model import Graph, Operator, Tensor
from lwprof.profiler.graph.shapes import fix_inputs
from lwprof.profiler.graph.site import Site
from lwprof.profiler.graph.weights import constants_of


def read(
    model: Any,
    *,
    name: str | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
) -> Graph:
    """Reads, checks and costs a model; runs nothing of it.

    Args:
        model: a path, ``-`` for standard input, bytes, an ``onnx.ModelProto`` (left
            unchanged) or a zoo name.
        name: what to call it; default the file's stem, the zoo name or the graph's name.
        input_shapes: shapes that win over the file's, by input name.
        batch: value of the batch dimension, where the file leaves it open or fixes another.

    Raises:
        ModelError: not found, not ONNX, invalid, hostile, or a shape is missing.
    """
    loaded = load(model, name=name, batch=batch)
    proto = loaded.proto
    _drop_initialisers_from_inputs(proto)
    light = strip(proto)
    try:
        onnx.checker.check_model(light.proto)
    except Exception as error:
        raise ModelError(f"{loaded.where}: {one_line(error)}") from error
    notes = fix_inputs(light.proto.graph, input_shapes, batch)
    inferred = infer(light.proto, loaded.where)
    constant = constants_of(inferred.graph, light.heavy)
    tensors = tensors_of(inferred.graph, constant)
    operators = tuple(_operator(i, n, tensors) for i, n in enumerate(proto.graph.node))
    inputs = tuple(tensors[v.name] for v in proto.graph.input)
    _write_shapes(proto.graph, inferred.graph)
    counted = [o.macs for o in operators]
    shapes = repr([(t.name, t.shape) for t in inputs])
    return Graph(
        name=loaded.name,
        sha256=loaded.sha256,
        key=hashlib.sha256(f"{loaded.sha256} {shapes}".encode()).hexdigest(),
        proto=proto,
        operators=operators,
        tensors=tensors,
        inputs=inputs,
        outputs=tuple(tensors[v.name] for v in proto.graph.output),
        unknown=tuple(sorted({o.type for o in operators if o.macs is None})),
        macs=None if None in counted else sum(c for c in counted if c is not None),
        params=sum(t.elements or 0 for t in tensors.values() if t.constant),
        size_bytes=loaded.size_bytes,
        peak_memory_bytes=None,
        peak_memory_inplace_bytes=None,
        notes=tuple(notes),
    )


def _drop_initialisers_from_inputs(proto: Any) -> None:
    """Old exporters list weights as inputs; as inputs, no runtime could fold or pack them."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    real = [value for value in proto.graph.input if value.name not in stored]
    if len(real) != len(proto.graph.input):
        kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in real]
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
    # Only from version 4 on may an initialiser not be an input.
    proto.ir_version = max(proto.ir_version, 4)


def _write_shapes(graph: Any, inferred: Any) -> None:
    names = {value.name for value in graph.input}
    fixed = [value for value in inferred.input if value.name in names]
    del graph.input[:]
    graph.input.extend(fixed)
    del graph.output[:]
    graph.output.extend(inferred.output)
    del graph.value_info[:]


def _operator(index: int, node: Any, tensors: Mapping[str, Tensor]) -> Operator:
    attributes = attributes_of(node)
    domain = "" if node.domain == "ai.onnx" else node.domain
    site = Site(node.op_type, domain, node.input, node.output, attributes, tensors)
    return Operator(
        index=index,
        name=node.name or f"{node.op_type}_{index}",
        type=node.op_type,
        domain=domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        macs=macs(site),
        params=0,
        bytes_read=_bytes(node.input, tensors),
        bytes_written=_bytes(node.output, tensors),
    )


def _bytes(names: Sequence[str], tensors: Mapping[str, Tensor]) -> int | None:
    total = 0
    for name in dict.fromkeys(names):
        tensor = tensors.get(name)
        if not name or tensor is None:
            continue
        size = nbytes(tensor.dtype, tensor.elements)
        if size is None:
            return None
        total += size
    return total
