"""Making a graph say more to shape inference: known values, decided branches, steady loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import numpy_helper

from lwprof.errors import ModelError
from lwprof.profiler.graph.folding import Array
from lwprof.profiler.graph.model import Tensor


def replace_known(graph: Any, values: Mapping[str, Array]) -> bool:
    """Turns nodes whose results are known into constants, in place; True when any was."""
    nodes, changed = [], False
    for node in graph.node:
        outputs = [name for name in node.output if name]
        if node.op_type == "Constant" or not outputs or any(n not in values for n in outputs):
            nodes.append(node)
            continue
        changed = True
        for name in outputs:
            value = numpy_helper.from_array(values[name])
            nodes.append(onnx.helper.make_node("Constant", [], [name], value=value))
    if changed:
        _set_nodes(graph, nodes)
    return changed


def choose_branches(graph: Any, values: Mapping[str, Array]) -> bool:
    """Puts the branch that a constant condition selects in the place of its ``If``.

    Returns:
        True when any ``If`` was decided.
    """
    taken = {name for node in graph.node for name in node.output}
    taken |= {value.name for value in graph.input} | {t.name for t in graph.initializer}
    nodes, changed = [], False
    for node in graph.node:
        branch = chosen_branch(node, values)
        inner = set() if branch is None else _made_in(branch)
        if branch is None or inner & taken or len(branch.output) != len(node.output):
            nodes.append(node)
            continue
        changed = True
        taken |= inner
        graph.initializer.extend(branch.initializer)
        nodes.extend(branch.node)
        for source, name in zip(branch.output, node.output, strict=True):
            if name:
                nodes.append(onnx.helper.make_node("Identity", [source.name], [name]))
    if changed:
        _set_nodes(graph, nodes)
    return changed


def chosen_branch(node: Any, values: Mapping[str, Array]) -> Any:
    """The branch that an ``If`` takes when its condition is known, else None."""
    if node.op_type != "If" or node.domain not in ("", "ai.onnx") or not node.input:
        return None
    condition = values.get(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    return next((a.g for a in node.attribute if a.name == wanted), None)


def _made_in(branch: Any) -> set[str]:
    made = {name for node in branch.node for name in node.output if name}
    return made | {tensor.name for tensor in branch.initializer}


def hold_loops(light: Any, tensors: Mapping[str, Tensor], infer: Callable[[Any], Any]) -> bool:
    """Fixes the shapes of loop-carried values that one iteration leaves as they were.

    ONNX must assume that a value changes its shape from one iteration to the next. Here the
    shape before the loop is tried; where the body returns the same shape, it holds for
    every iteration by induction, and for the loop's results.

    Args:
        light: the model; changed where a shape holds.
        tensors: values around the loops.
        infer: shape inference of a model, returning the inferred graph.

    Returns:
        True when any shape was fixed.
    """
    trial = onnx.ModelProto()
    trial.CopyFrom(light)
    tried = [
        index
        for index, node in enumerate(trial.graph.node)
        if node.op_type == "Loop" and node.domain in ("", "ai.onnx") and _hold(node, tensors)
    ]
    if not tried:
        return False
    try:
        inferred = infer(trial)
    except ModelError:
        return False  # the body really changes a shape
    changed = False
    for index in tried:
        node = light.graph.node[index]
        for place, kind in _steady(inferred.node[index]):
            changed = True
            _body(node).input[place + 2].type.CopyFrom(kind)
            if node.output[place]:
                _declare(light.graph, node.output[place], kind)
    return changed


def _declare(graph: Any, name: str, kind: Any) -> None:
    for value in (*graph.output, *graph.value_info):
        if value.name == name:
            value.type.CopyFrom(kind)
            return
    graph.value_info.add(name=name).type.CopyFrom(kind)


def _hold(node: Any, tensors: Mapping[str, Tensor]) -> bool:
    """Writes the outer shapes into a loop's body; True when that says anything new."""
    body, new = _body(node), False
    for place, name in enumerate(node.input[2:]):
        outer = tensors.get(name)
        if body is None or place + 2 >= len(body.input) or outer is None or not outer.shape:
            continue
        kind = body.input[place + 2].type.tensor_type
        now = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        if None in outer.shape or now == list(outer.shape):
            continue
        del kind.shape.dim[:]
        for extent in outer.shape:
            kind.shape.dim.add().dim_value = extent or 0
        new = True
    return new


def _steady(node: Any) -> list[tuple[int, Any]]:
    """Loop-carried values (place, type) that a body returns as they were; all or none."""
    body = _body(node)
    found = []
    for place in range(min(len(node.input), len(body.input), len(body.output) + 1) - 2):
        before, after = body.input[place + 2].type, body.output[place + 1].type
        shape = _extents(before)
        if shape is None:
            continue  # nothing was assumed of it
        if _extents(after) != shape:
            return []  # the others were inferred under a wrong assumption
        found.append((place, before))
    return found


def _extents(kind: Any) -> list[int] | None:
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    return [dim.dim_value for dim in tensor.shape.dim]


def _body(node: Any) -> Any:
    return next((a.g for a in node.attribute if a.name == "body"), None)


def _set_nodes(graph: Any, nodes: list[Any]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
