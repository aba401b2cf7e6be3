"""What ONNX's checker and shape inference let pass although no runtime could run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

from lwprof.errors import ModelError
from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.control import site_of
from lwprof.profiler.graph.messages import quoted
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.site import Site, Uncountable


def check_operands(nodes: Iterable[Any], tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuses operators whose operands cannot belong together.

    Args:
        nodes: top-level nodes.
        tensors: inferred values.
        where: what to call the model.

    Raises:
        ModelError: names the node and the extents.
    """
    for node in nodes:
        rule = _RULES.get(node.op_type)
        if rule is None or node.domain not in ("", "ai.onnx"):
            continue
        try:
            fault = rule(site_of(node, attributes_of(node), tensors))
        except (Uncountable, LookupError, TypeError, ZeroDivisionError):
            continue  # an extent is open: nothing can be said
        if fault:
            label = f"{node.op_type} {quoted(node.name or node.output[0])}"
            raise ModelError(f"{where}: {label} {fault}")


def _conv(weight: int) -> Callable[[Site], str | None]:
    def rule(site: Site) -> str | None:
        x, w = site.input(0), site.input(weight)
        group = int(site.attributes.get("group", 1))
        if group < 1 or w[1] * group != x[1] or w[0] % group:
            return (
                f"has weights for {w[1]} × {group} channels and {w[0]} results in {group} "
                f"groups, and an input of {x[1]} channels"
            )
        if any(extent < 1 for name in ("strides", "dilations")
               for extent in site.attributes.get(name) or ()):  # fmt: skip
            return "has a stride or dilation below 1"
        kernel = site.attributes.get("kernel_shape")
        if kernel is not None and tuple(kernel) != w[2:]:
            return f"says its kernel is {list(kernel)}, and its weights are {list(w[2:])}"
        return _bias(site, 2, w[0]) if site.type == "Conv" else None

    return rule


def _conv_transpose(site: Site) -> str | None:
    x, w = site.input(0), site.input(1)
    group = int(site.attributes.get("group", 1))
    if group < 1 or w[0] != x[1] or w[0] % group:
        return f"has weights for {w[0]} channels in {group} groups, and an input of {x[1]}"
    return _bias(site, 2, w[1] * group)


def _bias(site: Site, place: int, results: int) -> str | None:
    if site.has_input(place) and site.input(place) != (results,):
        return f"has a bias of shape {list(site.input(place))} for {results} results"
    return None


def _normalisation(site: Site) -> str | None:
    channels = site.input(0)[1]
    for place in range(1, len(site.inputs)):
        if site.has_input(place) and prod(site.input(place)) != channels:
            return f"has {prod(site.input(place))} values for {channels} channels"
    return None


def _reshape(site: Site) -> str | None:
    before, after = prod(site.input(0)), prod(site.output())
    return None if before == after else f"turns {before} elements into {after}"


def _recurrent(site: Site) -> str | None:
    features, w, r = site.input(0)[2], site.input(1), site.input(2)
    if w[2] != features or w[:2] != r[:2]:
        return f"has weights {list(w)} and {list(r)} for {features} features"
    return None


_RULES: Mapping[str, Callable[[Site], str | None]] = {
    "Conv": _conv(1), "ConvInteger": _conv(1), "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose, "BatchNormalization": _normalisation,
    "InstanceNormalization": _normalisation, "Reshape": _reshape,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent,
}  # fmt: skip
