"""The graph as it was before a runtime optimised it, seen as operators that make tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from lwprof.profiler.graph.model import Graph, Operator
from lwprof.profiler.kernels.bodies import captured_names, has_bodies

# Never equal to another of their kind, and never foldable.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
     "Multinomial", "Dropout"}
)  # fmt: skip


class Original:
    """Who makes which tensor, who reads it, what is constant, what is dead.

    Operators are named by their index in ``graph.operators``.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operators: tuple[Operator, ...] = graph.operators
        nodes = graph.proto.graph.node
        self._captured: dict[int, list[str]] = {
            operator.index: captured_names(nodes[operator.index])
            for operator in self.operators
            if _may_have_bodies(operator) and has_bodies(nodes[operator.index])
        }
        self.producer: dict[str, int] = {
            name: place
            for place, operator in enumerate(self.operators)
            for name in operator.outputs
            if name
        }
        self.by_name: dict[str, list[int]] = {}
        for place, operator in enumerate(self.operators):
            self.by_name.setdefault(operator.name, []).append(place)

    def reads(self, place: int) -> Iterable[str]:
        """Names of the tensors that an operator reads, those its bodies capture included."""
        operator = self.operators[place]
        yield from (name for name in operator.inputs if name)
        yield from self._captured.get(operator.index, ())

    def node(self, place: int) -> Any:
        """The ``NodeProto`` of an operator."""
        return self.graph.proto.graph.node[self.operators[place].index]

    @cached_property
    def consumers(self) -> Mapping[str, list[int]]:
        """Tensor → the operators that read it, in order."""
        found: dict[str, list[int]] = {}
        for place in range(len(self.operators)):
            for name in dict.fromkeys(self.reads(place)):
                found.setdefault(name, []).append(place)
        return found

    @cached_property
    def runtime_index(self) -> Mapping[int, int]:
        """Operator → the index that ONNX Runtime gives it on loading: Constants have none."""
        found: dict[int, int] = {}
        for place, operator in enumerate(self.operators):
            if operator.type != "Constant":
                found[place] = len(found)
        return found

    @cached_property
    def live(self) -> frozenset[int]:
        """Operators that some output of the graph depends on."""
        waiting = [self.producer[t.name] for t in self.graph.outputs if t.name in self.producer]
        found: set[int] = set()
        while waiting:
            place = waiting.pop()
            if place in found:
                continue
            found.add(place)
            waiting.extend(self.producer[n] for n in self.reads(place) if n in self.producer)
        return frozenset(found)

    @cached_property
    def foldable(self) -> frozenset[int]:
        """Operators whose outputs are known before any input is: weights, fixed shapes."""
        found: set[int] = set()
        tensors = self.graph.tensors
        for place, operator in enumerate(self.operators):
            if operator.type in _RANDOM or place in self._captured:
                continue
            names = [name for name in operator.inputs if name]
            known = all(self._is_fixed(name, found) for name in names)
            if not known and operator.type in ("Shape", "Size") and names:
                data = tensors.get(names[0])
                known = data is not None and data.elements is not None
            if known:
                found.add(place)
        return frozenset(found)

    def _is_fixed(self, name: str, folded: set[int]) -> bool:
        if name in self.producer:
            return self.producer[name] in folded
        tensor = self.graph.tensors.get(name)
        return tensor is not None and tensor.constant

    @cached_property
    def twins(self) -> Mapping[int, int]:
        """Operator → an earlier one that computes the same from the same inputs."""
        first: dict[tuple[Any, ...], int] = {}
        same: dict[str, str] = {}
        found: dict[int, int] = {}
        for place, operator in enumerate(self.operators):
            if operator.type in _RANDOM or not _is_plain(operator):
                continue
            signature = (
                operator.type,
                operator.domain,
                len(operator.outputs),
                repr(sorted(operator.attributes.items())),
                tuple(same.get(name, name) for name in operator.inputs),
            )
            twin = first.setdefault(signature, place)
            if twin != place:
                found[place] = twin
                same.update(zip(operator.outputs, self.operators[twin].outputs, strict=True))
        return found


def _is_plain(operator: Operator) -> bool:
    """Attributes that are cheap to compare: no tensors, which may be weights, and no bodies."""
    return all(isinstance(v, (int, float, str, list)) for v in operator.attributes.values())


def _may_have_bodies(operator: Operator) -> bool:
    return operator.type in ("If", "Loop", "Scan", "SequenceMap") or bool(operator.domain)
