"""``read``: from a file to a checked graph with concrete shapes and costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
import onnx.inliner

from lwprof.errors import ModelError
from lwprof.profiler.graph import costs
from lwprof.profiler.graph.consistency import check_operands
from lwprof.profiler.graph.constants import constants_of
from lwprof.profiler.graph.external import absorb
from lwprof.profiler.graph.guard import guard
from lwprof.profiler.graph.inference import Inferred, infer, mark_constant
from lwprof.profiler.graph.light import Light, strip
from lwprof.profiler.graph.loading import Loaded, load
from lwprof.profiler.graph.messages import ONNX_ERRORS, one_line
from lwprof.profiler.graph.model import Graph, Tensor
from lwprof.profiler.graph.order import put_in_order
from lwprof.profiler.graph.shapes import fix_inputs


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
    try:
        return _read(loaded, input_shapes, batch)
    except (RecursionError, UnicodeError, MemoryError) as error:
        raise ModelError(
            f"{loaded.where} is nested too deeply, too large or not UTF-8: {one_line(error)}"
        ) from error


def _read(
    loaded: Loaded, input_shapes: Mapping[str, Sequence[int]] | None, batch: int | None
) -> Graph:
    proto, where = loaded.proto, loaded.where
    guard(proto, where)
    external = absorb(loaded)
    if external.size_bytes:
        both = hashlib.sha256(f"{loaded.sha256} {external.sha256}".encode()).hexdigest()
        size = loaded.size_bytes + external.size_bytes
        loaded = replace(loaded, sha256=both, size_bytes=size)
    notes = _drop_initialisers_from_inputs(proto)
    if put_in_order(proto.graph, where):
        notes.append("the nodes were not in order and have been sorted")
    light = strip(proto)
    _check(light.proto, where)
    _inline(proto, light)
    _name_nodes(proto.graph)
    notes += fix_inputs(light.proto.graph, light.heavy, input_shapes, batch)
    try:
        inferred = infer(light.proto, where)
        check_operands(proto.graph.node, inferred.tensors, where)
    except ModelError as error:
        if batch is None and not input_shapes:
            raise
        asked = f"batch {batch}" if batch is not None else "the input shapes given"
        raise ModelError(f"{error} (with {asked}: the file may only fit its own)") from error
    mark_constant(inferred.tensors, constants_of(inferred.graph, inferred.tensors, light.heavy))
    _write_shapes(proto.graph, inferred.graph)
    return _graph(loaded, proto, inferred, notes)


def _graph(loaded: Loaded, proto: Any, inferred: Inferred, notes: list[str]) -> Graph:
    counted = costs.count(proto.graph, inferred)
    inputs = tuple(inferred.tensors[value.name] for value in proto.graph.input)
    return Graph(
        name=loaded.name,
        sha256=loaded.sha256,
        key=_key(loaded.sha256, inputs),
        proto=proto,
        operators=counted.operators,
        tensors=inferred.tensors,
        inputs=inputs,
        outputs=tuple(inferred.tensors[value.name] for value in proto.graph.output),
        unknown=counted.unknown,
        macs=counted.macs,
        params=counted.params,
        size_bytes=loaded.size_bytes + counted.generated_bytes,
        peak_memory_bytes=counted.peak_memory_bytes,
        peak_memory_inplace_bytes=counted.peak_memory_inplace_bytes,
        generated=counted.generated,
        notes=tuple(notes),
    )


def _key(sha256: str, inputs: Sequence[Tensor]) -> str:
    shapes = repr([(tensor.name, tensor.dtype, tensor.shape) for tensor in inputs])
    return hashlib.sha256(f"{sha256} {shapes}".encode()).hexdigest()


def _drop_initialisers_from_inputs(proto: Any) -> list[str]:
    """Old exporters list weights as inputs; as inputs, no runtime could fold or pack them."""
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {sparse.values.name for sparse in graph.sparse_initializer}
    real = [value for value in graph.input if value.name not in stored]
    dropped = len(graph.input) - len(real)
    if dropped:
        kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in real]
        del graph.input[:]
        graph.input.extend(kept)
    # Before version 4, an initialiser had to be listed as an input, and could not be changed.
    overridable = dropped and proto.ir_version >= 4
    proto.ir_version = max(proto.ir_version, 4)
    return [f"{dropped} inputs with stored values are taken as weights"] if overridable else []


def _check(light: Any, where: str) -> None:
    try:
        onnx.checker.check_model(light)
    except ONNX_ERRORS as error:
        raise ModelError(f"{where} is not a valid model: {one_line(error)}") from error


def _inline(proto: Any, light: Light) -> None:
    """Replaces calls of local functions by their bodies, in the model and its light copy."""
    if not proto.functions:
        return
    try:
        inlined = onnx.inliner.inline_local_functions(light.proto)
    except ONNX_ERRORS as error:
        raise ModelError(f"local functions cannot be inlined: {one_line(error)}") from error
    light.proto.CopyFrom(inlined)
    nodes = [*light.constant_nodes, *inlined.graph.node]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:], proto.functions[:]
    proto.graph.node.extend(kept)
    del proto.opset_import[:]
    proto.opset_import.extend(inlined.opset_import)


def _name_nodes(graph: Any) -> None:
    """Gives every node a name of its own, by which a runtime's profile can be read."""
    names = [node.name or f"{node.op_type}_{index}" for index, node in enumerate(graph.node)]
    taken = set(names)
    seen: set[str] = set()
    for index, (node, name) in enumerate(zip(graph.node, names, strict=True)):
        unique, attempt = name, index
        while unique in seen or (unique != name and unique in taken):
            unique, attempt = f"{name}_{attempt}", attempt + 1
        seen.add(unique)
        if node.name != unique:
            node.name = unique


def _write_shapes(graph: Any, inferred: Any) -> None:
    """Puts the concrete input shapes, and the outputs' as inferred, into the model to run."""
    names = {value.name for value in graph.input}
    fixed = [value for value in inferred.input if value.name in names]
    del graph.input[:], graph.value_info[:], graph.output[:]
    graph.input.extend(fixed)
    graph.output.extend(inferred.output)
