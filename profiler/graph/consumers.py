"""Who finally uses a graph input, and as what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lwprof.profiler.graph.attributes import attributes_of
from lwprof.profiler.graph.folding import Array
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.scopes import subgraphs

# Operators that hand the values of an input on, whatever they do to their arrangement.
_PASSING = {
    **dict.fromkeys(
        ("Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten", "Expand",
         "Slice", "Split", "Tile", "Optional", "OptionalGetElement"), frozenset((0,))),
    "Where": frozenset((1, 2)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Use:
    """One place where an input, or what merely rearranges it, is read.

    Attributes:
        type: the operator that reads it.
        place: which of its inputs.
        inputs: the operator's inputs; ``outputs`` likewise.
        direct: True when the operator reads the input itself, nothing in between.
        tensors: values around the operator.
        values: values known before any input is.
    """

    type: str
    place: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    direct: bool
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Array]

    def shape(self, place: int) -> tuple[int, ...] | None:
        """The shape of an input of the operator, where all of it is known."""
        return self._known(self.inputs[place]) if self.has(place) else None

    def result(self, place: int = 0) -> tuple[int, ...] | None:
        """The shape of an output of the operator, where all of it is known."""
        return self._known(self.outputs[place]) if place < len(self.outputs) else None

    def has(self, place: int) -> bool:
        """True when the optional input is present."""
        return place < len(self.inputs) and bool(self.inputs[place])

    def value(self, place: int) -> list[Any] | None:
        """A known input of the operator as a flat list."""
        found = self.values.get(self.inputs[place]) if self.has(place) else None
        return None if found is None else found.reshape(-1).tolist()

    def axis(self, default: int, rank: int) -> int:
        """The ``axis`` attribute, counted from the front."""
        axis = int(self.attributes.get("axis", default))
        return axis + rank if axis < 0 else axis

    def _known(self, name: str) -> tuple[int, ...] | None:
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape is None:
            return None
        extents = tuple(extent for extent in tensor.shape if extent is not None)
        return extents if len(extents) == len(tensor.shape) else None


def uses_of(
    graph: Any, name: str, tensors: Mapping[str, Tensor], values: Mapping[str, Array]
) -> list[Use]:
    """Every final use of a value, through views and into bodies that capture it.

    Args:
        graph: the ``GraphProto`` as it will be run.
        name: the value.
        tensors: the graph's values.
        values: values known before any input is.
    """
    return list(_search(graph, {name}, {name}, tensors, values))


def _search(
    graph: Any,
    entering: set[str],
    direct: set[str],
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Array],
) -> Iterator[Use]:
    followed = _followed(graph, entering)
    for node in graph.node:
        bodies = list(subgraphs(node))
        for body in bodies:
            inner = _entered(node, body, followed)
            yield from _search(body, followed | inner, direct | inner, tensors, values)
        if bodies and node.op_type not in ("Loop", "If"):
            continue
        passing = _PASSING.get(node.op_type, frozenset())
        for place, name in enumerate(node.input):
            if name in followed and place not in passing:
                yield Use(
                    node.op_type, place, tuple(node.input), tuple(node.output),
                    attributes_of(node), name in direct, tensors, values,
                )  # fmt: skip


def _followed(graph: Any, entering: set[str]) -> set[str]:
    """Names in a graph that carry the values of ``entering``, rearranged at most."""
    followed = set(entering)
    for node in graph.node:
        passing = _PASSING.get(node.op_type, frozenset())
        if any(node.input[place] in followed for place in passing if place < len(node.input)):
            followed.update(name for name in node.output if name)
        if node.op_type == "If":  # a branch may hand a value through
            for body in subgraphs(node):
                inside = _followed(body, followed)
                for result, name in zip(body.output, node.output, strict=False):
                    if result.name in inside and name:
                        followed.add(name)
    return followed


def _entered(node: Any, body: Any, followed: set[str]) -> set[str]:
    """Names under which a body receives followed values through the node's inputs."""
    skip = 2 if node.op_type == "Loop" else 0
    inner = list(body.input)[skip:]
    outer = list(node.input)[skip:]
    if node.op_type not in ("Loop", "Scan") or len(inner) != len(outer):
        return set()
    return {value.name for value, name in zip(inner, outer, strict=True) if name in followed}
