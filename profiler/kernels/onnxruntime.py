"""ONNX Runtime's kernels: the nodes of its optimised graph and what each of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lwprof.profiler.graph.model import Graph
from lwprof.profiler.kernels.assignment import assign
from lwprof.profiler.kernels.correspondence import Correspondence
from lwprof.profiler.kernels.fused import unfused
from lwprof.profiler.kernels.naming import runtime_names
from lwprof.profiler.kernels.optimised import Optimised
from lwprof.profiler.kernels.original import Original
from lwprof.profiler.kernels.tracing import Tracer
from lwprof.profiler.kernels.values import join_type
from lwprof.profiler.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a runtime executes as one: one or more operators, or a change of layout.

    Attributes:
        workload: what it does.
        operators: types of the original operators, in the model's order; the workload's
            own types where it runs none of them as such.
        nodes: names of the original operators, aligned with ``operators``; empty where
            the runtime inserted the kernel, or runs a part of an operator in it.
        runtime_node: name in the runtime's profile, without ``_kernel_time``.
        runtime_op: type in the runtime's profile.
        kind: ``layout`` for what the runtime inserted to change layouts and types; such a
            kernel has nodes only where it does a Transpose of the model along the way.
    """

    workload: Workload
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    runtime_node: str
    runtime_op: str
    kind: Literal["compute", "layout"]


@dataclass(frozen=True, slots=True)
class KernelMap(Sequence[Kernel]):
    """The kernels of a model in order of execution, and where the other operators went.

    Every operator of the graph is in exactly one place. It can be used as the list of
    its kernels.

    Attributes:
        kernels: in order of execution.
        folded: operators computed when the model is loaded.
        dead: operators that nothing depends on, or for which nothing was left to do.
        merged: operators whose result an identical operator's kernel provides.
    """

    kernels: tuple[Kernel, ...]
    folded: tuple[str, ...]
    dead: tuple[str, ...]
    merged: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kernels)

    def __getitem__(self, index: Any) -> Any:
        return self.kernels[index]

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self.kernels)

    def named_by(self, profile: Sequence[Mapping[str, str] | tuple[str, str]]) -> KernelMap:
        """The same kernels with the names that the runtime's profile uses.

        ONNX Runtime calls a nameless node ``<Op>_<index>`` by an index that its file does
        not hold, and numbers the reorders it inserts differently each time it loads a
        model. A session that both saved its optimised graph and was profiled ran its
        nodes in the saved order, so there names are matched by position. With a profile
        of another session, names that do not occur are matched by type and order.

        Args:
            profile: name and type (``{"name", "op"}`` or a pair) of the top-level nodes
                of one run, in order of execution.
        """
        rows = [_row(entry) for entry in profile]
        if [op for _, op in rows] == [kernel.runtime_op for kernel in self.kernels]:
            names = [name for name, _ in rows]
        else:
            names = _matched(self.kernels, rows)
        kernels = tuple(
            replace(kernel, runtime_node=name)
            for kernel, name in zip(self.kernels, names, strict=True)
        )
        return replace(self, kernels=kernels)


def _row(entry: Mapping[str, str] | tuple[str, str]) -> tuple[str, str]:
    return (entry["name"], entry["op"]) if isinstance(entry, Mapping) else (entry[0], entry[1])


def _matched(kernels: Sequence[Kernel], rows: Sequence[tuple[str, str]]) -> list[str]:
    ours = {kernel.runtime_node for kernel in kernels}
    theirs = {name for name, _ in rows}
    free: dict[str, list[str]] = {}
    for name, op in dict.fromkeys(rows):
        if name not in ours:
            free.setdefault(op, []).append(name)
    names = []
    for kernel in kernels:
        waiting = free.get(kernel.runtime_op, [])
        lost = kernel.runtime_node not in theirs and bool(waiting)
        names.append(waiting.pop(0) if lost else kernel.runtime_node)
    return names


def onnxruntime_kernels(graph: Graph, optimised: Any) -> KernelMap:
    """The kernels of ONNX Runtime for ``graph``, in order of execution.

    Args:
        graph: the model as it was given to the runtime.
        optimised: the ``onnx.ModelProto`` that the runtime saved
            (``SessionOptions.optimized_model_filepath``), at any optimisation level, of
            any processor. Large constants are never read, so they may have been cut out.

    Raises:
        DeviceError: ``optimised`` is not a proper graph.
    """
    before, after = Original(graph), Optimised(optimised)
    found = Correspondence(before, after)
    assigned = assign(before, after, found)
    members: dict[int, list[int]] = {}
    for operator, kernel in sorted(assigned.kernel.items()):
        members.setdefault(kernel, []).append(operator)
    tracer = Tracer(before, after, found)
    names = runtime_names(before, after, found)
    kernels = []
    for node in after.nodes:
        workload = Workload.from_calls(unfused(tracer.call(node)))
        operators = [before.operators[place] for place in members.get(node.place, ())]
        types = tuple(join_type(o.domain, o.type) for o in operators)
        kernels.append(
            Kernel(
                workload,
                types or workload.op_types,
                tuple(operator.name for operator in operators),
                names[node.place],
                node.plain_type,
                "layout" if node.place in found.inserted or node.reorders else "compute",
            )
        )
    return KernelMap(
        tuple(kernels),
        *(
            tuple(before.operators[place].name for place in places)
            for places in (assigned.folded, assigned.dead, assigned.merged)
        ),
    )
