"""The order of nodes: every value is made once, before it is read."""

from __future__ import annotations

import heapq
from typing import Any

from lwprof.errors import ModelError
from lwprof.profiler.graph.messages import quoted
from lwprof.profiler.graph.scopes import subgraphs


def put_in_order(graph: Any, where: str) -> bool:
    """Checks the graph's data flow and sorts its nodes if the file did not.

    Returns:
        True when the nodes had to be sorted (some exporters leave that to the runtime).

    Raises:
        ModelError: a value that nothing makes, one made twice, or a cycle.
    """
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given |= {sparse.values.name for sparse in graph.sparse_initializer}
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if not name:
                continue
            if name in makers or name in given:
                raise ModelError(
                    f"{where}: value {quoted(name)} is made more than once, "
                    f"the second time by {_label(node, index)}"
                )
            makers[name] = index
    needs = [_reads(node) for node in graph.node]
    for index, names in enumerate(needs):
        for name in names:
            if name not in makers and name not in given:
                raise ModelError(
                    f"{where}: {_label(graph.node[index], index)} reads {quoted(name)}, "
                    "which is neither an input, nor a weight, nor made by any node"
                )
    for value in graph.output:
        if value.name not in makers and value.name not in given:
            raise ModelError(f"{where}: nothing makes the output {quoted(value.name)}")
    sources = [{makers[name] for name in names if name in makers} for names in needs]
    if all(max(made, default=-1) < index for index, made in enumerate(sources)):
        return False
    _sort(graph, sources, where)
    return True


def read_names(graph: Any) -> set[str]:
    """Values that a node of the graph or one of its bodies reads, or that the graph returns."""
    names = {value.name for value in graph.output}
    for node in graph.node:
        names |= _reads(node)
    return names


def _reads(node: Any) -> set[str]:
    """Values a node needs from its own graph, those that its bodies capture included."""
    names = {name for name in node.input if name}
    for body in subgraphs(node):
        names |= captured(body)
    return names


def captured(body: Any) -> set[str]:
    """Values of the surrounding graphs that a body reads."""
    own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    own |= {sparse.values.name for sparse in body.sparse_initializer}
    free: set[str] = set()
    for node in body.node:
        free |= _reads(node) - own
        own.update(node.output)
    free |= {value.name for value in body.output} - own
    return free


def _sort(graph: Any, sources: list[set[int]], where: str) -> None:
    readers: list[list[int]] = [[] for _ in sources]
    for index, made in enumerate(sources):
        for source in made:
            readers[source].append(index)
    left = [len(made) for made in sources]
    ready = [index for index, count in enumerate(left) if not count]
    done: list[int] = []
    while ready:  # a heap, so that the file's order is kept where it can be
        index = heapq.heappop(ready)
        done.append(index)
        for reader in readers[index]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, reader)
    if len(done) != len(sources):
        stuck = next(index for index in range(len(sources)) if left[index] > 0)
        raise ModelError(
            f"{where}: the graph is cyclic: {_label(graph.node[stuck], stuck)} "
            "needs, directly or not, its own result"
        )
    nodes = [type(graph.node[0]).FromString(graph.node[i].SerializeToString()) for i in done]
    del graph.node[:]
    graph.node.extend(nodes)


def _label(node: Any, index: int) -> str:
    return f"node {index} ({node.op_type}{f' {quoted(node.name)}' if node.name else ''})"
