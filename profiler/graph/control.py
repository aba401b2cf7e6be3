"""MACs of operators that carry bodies: If, Loop, Scan and the like.

- ``If``: the branch that is taken where the condition is constant, else the costlier one.
- ``Loop``: trip count times the body, where both the count and the decision to go on are
  constant; a loop that decides as it runs is unknown unless its body multiplies nothing.
- ``Scan``: the extent of the scanned axis times the body.
- Anything else with bodies (``SequenceMap``): unknown unless the bodies multiply nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.folding import Array, fold
from lwprof.profiler.graph.inference import tensors_of
from lwprof.profiler.graph.macs import macs
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.scopes import subgraphs
from lwprof.profiler.graph.site import Site
from lwprof.profiler.graph.unfolding import chosen_branch

Values = Mapping[str, Array]


def node_macs(
    node: Any, attributes: Mapping[str, Any], tensors: Mapping[str, Tensor], values: Values
) -> int | None:
    """MACs of a node, its bodies included; None when they cannot be counted.

    Args:
        node: a node of an inferred graph, so that its bodies carry shapes.
        attributes: the node's attributes.
        tensors: values visible to the node.
        values: values known before any input is.
    """
    site = site_of(node, attributes, tensors)
    bodies = list(subgraphs(node))
    if not bodies:
        return macs(site)
    counts = [_graph_macs(body, tensors, values) for body in bodies]
    if site.domain == "" and site.type == "If":
        return _if(node, bodies, counts, values)
    known = [count for count in counts if count is not None]
    if site.type in ("If", "Loop", "Scan", "SequenceMap"):
        if len(known) == len(counts) and not any(known):
            return 0
        times = _times(site, attributes, values)
        return None if times is None or counts[0] is None else times * counts[0]
    own = macs(site)  # bodies that run once, as FlexAttention's
    return own + sum(known) if own is not None and len(known) == len(counts) else None


def site_of(node: Any, attributes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Site:
    """The node as cost formulas see it."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return Site(node.op_type, domain, node.input, node.output, attributes, tensors)


def _graph_macs(body: Any, outer: Mapping[str, Tensor], values: Values) -> int | None:
    tensors = tensors_of(body, outer)
    inner = {**values, **fold(body, tensors)}
    total = 0
    for node in body.node:
        count = node_macs(node, attributes_of(node), tensors, inner)
        if count is None:
            return None
        total += count
    return total


def _if(node: Any, bodies: list[Any], counts: list[int | None], values: Values) -> int | None:
    taken = chosen_branch(node, values)
    if taken is not None:
        return next((c for b, c in zip(bodies, counts, strict=True) if b is taken), None)
    known = [count for count in counts if count is not None]
    return max(known) if known and len(known) == len(counts) else None


def _times(site: Site, attributes: Mapping[str, Any], values: Values) -> int | None:
    """How often a body runs; None when only the run can tell."""
    if site.type == "Loop":
        return _trips(site, attributes["body"], values)
    if site.type != "Scan":
        return None
    scans = int(attributes.get("num_scan_inputs", 0))
    place = len(site.inputs) - scans
    tensor = site.tensors.get(site.inputs[place]) if 0 <= place < len(site.inputs) else None
    if tensor is None or tensor.shape is None:
        return None
    axis = (attributes.get("scan_input_axes") or [0])[0]
    return tensor.shape[axis] if -len(tensor.shape) <= axis < len(tensor.shape) else None


def _trips(site: Site, body: Any, values: Values) -> int | None:
    limit = values.get(site.inputs[0]) if site.has_input(0) else None
    if limit is None or limit.size != 1 or not body.output or len(body.input) < 2:
        return None
    start = values.get(site.inputs[1]) if site.has_input(1) else None
    if site.has_input(1) and (start is None or start.size != 1):
        return None
    if start is not None and not bool(start.reshape(-1)[0]):
        return 0
    # The body goes on when it hands on the condition it got, or a constant True.
    passed, made = {body.input[1].name}, fold(body, {})
    for node in body.node:
        if node.op_type == "Identity" and node.input[0] in passed:
            passed.update(node.output)
    name = body.output[0].name
    held = made.get(name)
    steady = name in passed or (held is not None and held.size == 1 and bool(held.reshape(-1)[0]))
    return max(0, int(limit.reshape(-1)[0])) if steady else None
