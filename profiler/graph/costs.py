"""Everything that is counted about a graph: per operator and for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.profiler.graph import memory, parameters
from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.constants import constants_of
from lwprof.profiler.graph.control import node_macs
from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.graph.inference import Inferred, mark_constant, tensors_of
from lwprof.profiler.graph.model import Operator, Tensor
from lwprof.profiler.graph.order import captured, read_names
from lwprof.profiler.graph.scopes import subgraphs


@dataclass(frozen=True, slots=True)
class Costs:
    """What :func:`count` returns; the fields mean what they do in ``Graph``."""

    operators: tuple[Operator, ...]
    unknown: tuple[str, ...]
    macs: int | None
    params: int
    generated: tuple[str, ...]
    generated_bytes: int
    peak_memory_bytes: int | None
    peak_memory_inplace_bytes: int | None


def count(graph: Any, inferred: Inferred) -> Costs:
    """Counts a graph.

    Args:
        graph: the ``GraphProto`` as it will be run, in topological order.
        inferred: the same graph after inference, constants marked.
    """
    tensors = _without_unread(graph, inferred.tensors)
    learned = parameters.count(graph, tensors)
    with_shapes = {node.output[0]: node for node in inferred.graph.node if node.output}
    operators = tuple(
        _operator(
            index, node, with_shapes, tensors, inferred.values, learned.per_operator.get(index, 0)
        )
        for index, node in enumerate(graph.node)
    )
    totals = [operator.macs for operator in operators]
    unknown = {o.type for o in operators if None in (o.macs, o.bytes_read, o.bytes_written)}
    steps = [_step(node, with_shapes, tensors) for node in graph.node]
    ends = [value.name for value in graph.input], [value.name for value in graph.output]
    return Costs(
        operators=operators,
        unknown=tuple(sorted(unknown)),
        macs=None if None in totals else sum(n for n in totals if n is not None),
        params=learned.total,
        generated=learned.generated,
        generated_bytes=sum(
            nbytes(tensors[name].dtype, tensors[name].elements) or 0 for name in learned.generated
        ),
        peak_memory_bytes=_peak(steps, tensors, *ends, in_place=False),
        peak_memory_inplace_bytes=_peak(steps, tensors, *ends, in_place=True),
    )


def _without_unread(graph: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values that matter: a further result that nobody reads costs nothing.

    (Runtimes do not make optional results that nobody asked for, as Dropout's mask.)
    """
    read = read_names(graph)
    spare = {name for node in graph.node for name in node.output[1:] if name not in read}
    spare |= {
        name
        for node in graph.node
        for name in node.output
        if name not in read and name in tensors and tensors[name].elements is None
    }
    return {name: tensor for name, tensor in tensors.items() if name not in spare}


def _operator(
    index: int,
    node: Any,
    with_shapes: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
    params: int,
) -> Operator:
    attributes = attributes_of(node)
    # Bodies carry shapes only in the inferred copy, where decided Ifs are gone.
    twin = with_shapes.get(node.output[0], node) if node.output else node
    bodies = list(subgraphs(node))
    costed = twin if bodies and twin.op_type == node.op_type else node
    shown = attributes_of(costed) if bodies else attributes
    reads = [*node.input, *(name for body in bodies for name in sorted(captured(body)))]
    return Operator(
        index=index,
        name=node.name,
        type=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        macs=node_macs(costed, shown, tensors, values),
        params=params,
        bytes_read=_bytes(reads, tensors),
        bytes_written=_bytes(node.output, tensors),
    )


def _bytes(names: Sequence[str], tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes of distinct values; None when any has no known size."""
    total = 0
    for name in dict.fromkeys(names):
        if not name:
            continue
        tensor = tensors.get(name)
        if tensor is None:
            continue
        size = nbytes(tensor.dtype, tensor.elements) if tensor.kind == "tensor" else None
        if size is None:
            return None
        total += size
    return total


def _step(node: Any, with_shapes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> memory.Step:
    names = tuple(name for name in node.input if name)
    kind = node.op_type if node.domain in ("", "ai.onnx") else ""
    writes = tuple(node.output)
    if not any(True for _ in subgraphs(node)):
        return memory.Step(kind, names, writes)
    twin = with_shapes.get(node.output[0], node) if node.output else node
    bodies = list(subgraphs(twin if twin.op_type == node.op_type else node))
    peaks = [_body_peak(body, tensors) for body in bodies]
    known = [peak for peak in peaks if peak is not None]
    extra = max(known, default=0) if len(known) == len(peaks) else None
    if extra is not None and kind == "If":
        # A branch's result becomes the node's own, which is counted already.
        extra = max(0, extra - (_bytes(node.output, tensors) or 0))
    inner = (name for body in bodies for name in sorted(captured(body)))
    return memory.Step("", (*names, *inner), writes, extra)


def _body_peak(body: Any, outer: Mapping[str, Tensor]) -> int | None:
    tensors = tensors_of(body, outer)
    mark_constant(tensors, constants_of(body, tensors))
    own = {value.name for value in body.input} | {n for node in body.node for n in node.output}
    inside = {name: tensors[name] for name in own if name in tensors}
    shapes = {node.output[0]: node for node in body.node if node.output}
    steps = [_step(node, shapes, tensors) for node in body.node]
    starts, ends = [v.name for v in body.input], [v.name for v in body.output]
    return _peak(steps, inside, starts, ends, in_place=False)


def _peak(
    steps: Sequence[memory.Step],
    tensors: Mapping[str, Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    in_place: bool,
) -> int | None:
    names = list(_named(steps, inputs))
    sizes = memory.activation_sizes(tensors, names)
    return memory.peak_bytes(steps, sizes, inputs, outputs, in_place=in_place)


def _named(steps: Sequence[memory.Step], inputs: Sequence[str]) -> Iterator[str]:
    yield from inputs
    for step in steps:
        yield from step.writes
