"""Which constants are learned parameters, and which operator reads them.

A constant is learned by the role it plays, not by being stored:

- Floating-point constants count, except in places that are settings or statistics
  (``roles._SETTINGS``: clipping limits, scales of quantisation, running mean and variance of
  BatchNormalization …), and except single numbers in plain arithmetic (``x * 0.5``).
- Integer constants count only where they are quantised weights (``roles._QUANTISED``); shapes,
  axes and indices never do.
- What is made from constants before it is used (a reshaped, transposed, cast or dequantised
  weight) counts as its source does, once, however many operators share it.
- ``ConstantOfShape`` counts like a stored constant, unless it only fills arithmetic with
  0 or 1 (masks, initial states).
- Caffe writes one normalisation as BatchNormalization followed by ``Mul`` and ``Add``; the
  scale and bias of the first are then fixed at 1 and 0 and only the second pair counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from onnx import numpy_helper

from lwprof.profiler.graph.elements import NAMES
from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.roles import VIEWS, is_weight
from lwprof.profiler.graph.scopes import subgraphs


@dataclass(frozen=True, slots=True)
class Parameters:
    """Learned parameters of a graph.

    Attributes:
        sources: learned constants by name, and how many elements each has.
        per_operator: how many an operator reads, by the index of the top-level node.
        generated: weights, learned or statistics, that ``ConstantOfShape`` makes.
    """

    sources: Mapping[str, int]
    per_operator: Mapping[int, int]
    generated: tuple[str, ...]

    @property
    def total(self) -> int:
        """Learned parameters of the model, each counted once."""
        return sum(self.sources.values())


@dataclass(frozen=True, slots=True)
class _Use:
    """One place that reads a value: which top-level operator, and in what role."""

    operator: int
    node: Any
    place: int


@dataclass(slots=True)
class _Scope:
    """One graph with the uses of the values it owns."""

    outer: _Scope | None
    own: set[str]
    uses: dict[str, list[_Use]] = field(default_factory=lambda: defaultdict(list))

    def owner(self, name: str) -> _Scope | None:
        scope: _Scope | None = self
        while scope is not None and name not in scope.own:
            scope = scope.outer
        return scope


@dataclass(slots=True)
class _Source:
    name: str
    dtype: str
    elements: int
    fill: float | None
    uses: list[_Use]


def count(graph: Any, tensors: Mapping[str, Tensor]) -> Parameters:
    """Finds the learned parameters of a graph as it will be run.

    Args:
        graph: the top-level ``GraphProto`` with its weights.
        tensors: its inferred values (for the shapes of generated constants).
    """
    found: list[_Source] = []
    _walk(graph, None, None, tensors, found)
    redundant = _normalised_twice(graph)
    sources: dict[str, int] = {}
    per_operator: dict[int, int] = defaultdict(int)
    generated = []
    for source in found:
        readers = {
            use.operator
            for use in source.uses
            if (use.operator, use.place) not in redundant
            and is_weight(use.node.op_type, use.place, source.dtype, source.elements, source.fill)
        }
        if source.fill is not None and (readers or any(_is_statistic(u) for u in source.uses)):
            generated.append(source.name)
        if not readers:
            continue
        name = source.name
        while name in sources:  # bodies may reuse a name
            name += "'"
        sources[name] = _learned(source)
        for operator in readers:
            per_operator[operator] += sources[name]
    return Parameters(sources, dict(per_operator), tuple(generated))


def _is_statistic(use: _Use) -> bool:
    return use.node.op_type == "BatchNormalization" and use.place > 0


def _learned(source: _Source) -> int:
    """Elements of a weight; MatMulNBits packs several into one stored byte."""
    for use in source.uses:
        if use.node.op_type == "MatMulNBits" and use.place == 1:
            size = {a.name: int(a.i) for a in use.node.attribute if a.name in ("K", "N")}
            return size.get("K", 0) * size.get("N", 0)
    return source.elements


def _walk(
    graph: Any,
    outer: _Scope | None,
    operator: int | None,
    tensors: Mapping[str, Tensor],
    found: list[_Source],
) -> None:
    made = {name for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    own = made | set(stored) | {value.name for value in graph.input}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    scope = _Scope(outer, own)
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        top = index if operator is None else operator
        for body in subgraphs(node):
            _walk(body, scope, top, tensors, found)
        passed = _passed_on(node, scope)
        for place, name in enumerate(node.input):
            holder = scope.owner(name)
            if holder is None or not name:
                continue
            if place == 0 and passed is not None:
                holder.uses[name].extend(passed)
            else:
                holder.uses[name].append(_Use(top, node, place))
        source = _generated_source(node, scope, tensors)
        if source is not None:
            found.append(source)
    for tensor in graph.initializer:
        uses = scope.uses[tensor.name]
        found.append(_Source(tensor.name, NAMES[tensor.data_type], prod(tensor.dims), None, uses))
    for sparse in graph.sparse_initializer:
        # only the stored values were learned
        name, dtype = sparse.values.name, NAMES[sparse.values.data_type]
        found.append(_Source(name, dtype, prod(sparse.values.dims), None, scope.uses[name]))


def _passed_on(node: Any, scope: _Scope) -> list[_Use] | None:
    """Uses of a view's results, which are the uses of what it views; None for other nodes."""
    if node.op_type not in VIEWS or node.domain not in ("", "ai.onnx"):
        return None
    return [use for name in node.output if name for use in scope.uses[name]]


def _generated_source(node: Any, scope: _Scope, tensors: Mapping[str, Tensor]) -> _Source | None:
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    name = node.output[0]
    value = next((a.t for a in node.attribute if a.name == "value"), None)
    if node.op_type == "Constant" and value is not None:
        dtype = NAMES[value.data_type]
        return _Source(name, dtype, prod(value.dims), None, scope.uses[name])
    if node.op_type != "ConstantOfShape" or scope.outer is not None:
        return None
    tensor = tensors.get(name)
    if tensor is None or not tensor.constant or tensor.elements is None:
        return None
    dtype = "float32" if value is None else NAMES[value.data_type]
    return _Source(name, dtype, tensor.elements, _fill(value), scope.uses[name])


def _fill(value: Any) -> float:
    if value is None:
        return 0.0
    array = numpy_helper.to_array(value).reshape(-1)
    return float(array[0]) if array.size and array.dtype.kind in "biuf" else 1.5


def _normalised_twice(graph: Any) -> set[tuple[int, int]]:
    """(operator, place) of BatchNormalization's scale and bias where an affine pair follows."""
    readers: dict[str, list[Any]] = defaultdict(list)
    makers = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)

    def by_constant(name: str, kind: str) -> Any:
        """The one reader of a value, where it is ``kind`` with a constant other side."""
        if len(readers[name]) != 1 or readers[name][0].op_type != kind:
            return None
        node = readers[name][0]
        other = next((other for other in node.input if other != name), None)
        while other is not None and other in makers and makers[other].op_type in VIEWS:
            other = makers[other].input[0]
        constant = other in stored or (
            other in makers and makers[other].op_type in ("Constant", "ConstantOfShape")
        )
        return node if constant else None

    found: set[tuple[int, int]] = set()
    for index, node in enumerate(graph.node):
        if node.op_type != "BatchNormalization":
            continue
        scaled = by_constant(node.output[0], "Mul")
        if scaled is not None and by_constant(scaled.output[0], "Add") is not None:
            found |= {(index, 1), (index, 2)}
    return found
