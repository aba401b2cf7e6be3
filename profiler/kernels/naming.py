"""Names that ONNX Runtime's profile gives to the nodes of its optimised graph."""

from __future__ import annotations

from collections.abc import Iterator

from lwprof.profiler.kernels.correspondence import Correspondence
from lwprof.profiler.kernels.optimised import Node, Optimised
from lwprof.profiler.kernels.original import Original
from lwprof.profiler.kernels.schemas import schema_of


def runtime_names(before: Original, after: Optimised, found: Correspondence) -> list[str]:
    """One name per optimised node: its own, else its type and the index it was loaded with.

    The file does not hold the index. It is the operator's position among those that are
    not Constants; the operators of an inlined function follow after all of these.
    """
    inlined = _inlined_indices(before, after)
    used: set[int] = set()
    names = []
    for node in after.nodes:
        if node.name:
            names.append(node.name)
            continue
        own = found.own.get(node.place)
        if own is not None:
            index = before.runtime_index[own]
        else:
            index = _free(inlined, node.plain_type, _function(node, before, after, found), used)
            used.add(index)
        names.append(f"{node.plain_type}_{index}")
    return names


def _function(node: Node, before: Original, after: Optimised, found: Correspondence) -> int:
    """The operator that a nameless node is a part of, told by what its results flow into."""
    while True:
        for name in node.outputs:
            place = before.producer.get(found.tensor.get(name, ""))
            if place is not None and name in before.producer:
                return place
        readers = [place for name in node.outputs for place, _ in after.consumers.get(name, ())]
        following = next((after.nodes[p] for p in readers if not after.nodes[p].name), None)
        if following is None:
            return -1
        node = following


def _inlined_indices(before: Original, after: Optimised) -> list[tuple[int, str, int]]:
    """(index, type, operator) of the operators that inlining functions adds, in order."""
    present = {node.plain_type for node in after.nodes}
    index = len(before.runtime_index)
    entries = []
    for place, operator in enumerate(before.operators):
        if operator.type in present or operator.domain:
            continue
        for kind in _function_body(operator.type, after.opset):
            entries.append((index, kind, place))
            index += 1
    return entries


def _function_body(op: str, opset: int) -> Iterator[str]:
    schema = schema_of(op, opset)
    if schema is not None and schema.has_function:
        yield from (n.op_type for n in schema.function_body.node if n.op_type != "Constant")


def _free(entries: list[tuple[int, str, int]], kind: str, maker: int, used: set[int]) -> int:
    """The index of an unused operator of the type, of the function that makes the output."""
    fitting = [entry for entry in entries if entry[1] == kind and entry[0] not in used]
    best = next((index for index, _, place in fitting if place == maker), None)
    if best is not None:
        return best
    if fitting:
        return fitting[0][0]
    last = entries[-1][0] if entries else 0
    return max([last, *used]) + 1
