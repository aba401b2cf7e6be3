"""Which operators of the model each fused TVM function computes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lwprof.profiler.graph.model import Graph
from lwprof.profiler.kernels.assignment import assign
from lwprof.profiler.kernels.correspondence import Correspondence
from lwprof.profiler.kernels.fused import unfused
from lwprof.profiler.kernels.onnxruntime import Kernel
from lwprof.profiler.kernels.optimised import Optimised
from lwprof.profiler.kernels.original import Original
from lwprof.profiler.kernels.tracing import Tracer
from lwprof.profiler.kernels.values import Call, Value, join_type
from lwprof.profiler.kernels.workload import Workload
from lwprof.profiler.tvm.layout import LAYOUT

_NUMBER = re.compile(r"\d+(?=_|$)")


class Attribution:
    """Traces nodes of the simplified graph to operators of the model.

    A fused function's workload is written as the standard operators that it
    computes, so the same convolution has the same key under TVM and ONNX Runtime.

    Args:
        graph: the model.
        simplified: what :func:`lwprof.profiler.tvm.simplify.simplify` made of it.
    """

    def __init__(self, graph: Graph, simplified: Any) -> None:
        before, after = Original(graph), Optimised(simplified)
        found = Correspondence(before, after)
        tracer = Tracer(before, after, found)
        self._calls = [unfused(tracer.call(node)) for node in after.nodes]
        self._members: list[list[int]] = [[] for _ in after.nodes]
        for place, node in sorted(assign(before, after, found).kernel.items()):
            self._members[node].append(place)
        self._operators = before.operators

    def kernel(
        self,
        runtime_node: str,
        function: str,
        positions: Sequence[int],
        parts: bool,
        arguments: Sequence[tuple[str, tuple[int, ...]]],
    ) -> Kernel:
        """Describe one call of a fused function.

        Args:
            runtime_node: its name in the profile.
            function: the function's name.
            positions: nodes of the simplified graph that it computes; none for a
                conversion that TVM added.
            parts: whether other functions compute parts of the same nodes.
            arguments: element type and shape of its arguments, the result last.
        """
        if not positions:
            added = Workload.from_calls([_added(function, arguments)])
            return Kernel(added, added.op_types, (), runtime_node, "tvm", "layout")
        if parts:
            workload = Workload.from_calls([_added(function, arguments)])
        else:
            calls = [call for position in positions for call in self._calls[position]]
            workload = Workload.from_calls(calls)
        places = sorted({place for position in positions for place in self._members[position]})
        operators = [self._operators[place] for place in places]
        types = tuple(join_type(o.domain, o.type) for o in operators) or workload.op_types
        names = tuple(operator.name for operator in operators)
        return Kernel(workload, types, names, runtime_node, "+".join(types), "compute")


def _added(function: str, arguments: Sequence[tuple[str, tuple[int, ...]]]) -> Call:
    """A call that is no operator of the model: a change of layout, a part of an operator."""
    values = [Value(dtype, shape) for dtype, shape in arguments] or [Value(None, None)]
    # TVM numbers functions of one kind as it meets them.
    name = "LayoutTransform" if function.startswith(LAYOUT) else _NUMBER.sub("", function)
    return Call(f"tvm.{name}", {}, tuple(values[:-1]), (values[-1],))
