"""Which values are known before any input is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lwprof.profiler.graph.model import Tensor
from lwprof.profiler.graph.scopes import subgraphs

_RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
     "Bernoulli", "Multinomial")
)  # fmt: skip


def constants_of(
    graph: Any, tensors: Mapping[str, Tensor], known_before: Collection[str] = ()
) -> set[str]:
    """Names of initialisers, ``Constant`` results and everything that folds from them.

    ``Shape`` and ``Size`` of a value whose extents are all known fold as well. Random
    operators and operators with bodies never do.

    Args:
        graph: a graph in topological order.
        tensors: its inferred values.
        known_before: further constants, such as weights that were taken out.
    """
    known = {tensor.name for tensor in graph.initializer} | set(known_before)
    known |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        if node.op_type in _RANDOM or any(True for _ in subgraphs(node)):
            continue
        static = node.op_type in ("Shape", "Size") and _static(tensors.get(node.input[0]))
        if static or all(not name or name in known for name in node.input):
            known.update(name for name in node.output if name)
    return known


def _static(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.kind == "tensor" and tensor.elements is not None
