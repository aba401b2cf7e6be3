"""Kernels of a runtime on this host, for ``lwprof inspect --runtime`` and for predictions."""

from __future__ import annotations

from contextlib import ExitStack

from lwprof.errors import DeviceTransient
from lwprof.profiler.graph import Graph, materialise
from lwprof.profiler.kernels import Kernel
from lwprof.profiler.session.link import Link, open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import Prepared, prepare


class HostRuntime:
    """A runtime on this machine that is asked what it makes of graphs.

    Its agent starts with the first question, which takes as long as a small answer, and stays up
    until ``close``.

    Args:
        runtime: ``onnxruntime`` or ``tvm``.
    """

    def __init__(self, runtime: str = "onnxruntime") -> None:
        self._settings = Settings(runtime=runtime)
        self._stack = ExitStack()
        self._link: Link | None = None

    def prepare(self, graph: Graph) -> Prepared:
        """The graph's kernels in execution order, and the runtime's plan of its memory.

        Raises:
            MissingExtra: the runtime is not installed.
            ModelError: the runtime refuses the model.
        """
        try:
            return self._prepare(graph)
        except DeviceTransient:
            self.close()  # an agent that died between two questions is started once more
            return self._prepare(graph)

    def _prepare(self, graph: Graph) -> Prepared:
        if self._link is None:
            self._link = self._stack.enter_context(open_device("host"))
            # Says what to install where the runtime is missing.
            self._link.context(self._settings, 1)
        return prepare(self._link.agent, materialise(graph), self._settings, 1)

    def close(self) -> None:
        """Ends the agent; the next question starts another."""
        self._link = None
        self._stack.close()
        self._stack = ExitStack()


def kernels_on_host(graph: Graph, runtime: str = "onnxruntime") -> list[Kernel]:
    """What ``runtime`` on this machine makes of a graph, in execution order.

    Raises:
        MissingExtra: the runtime is not installed.
        ModelError: the runtime refuses the model.
    """
    host = HostRuntime(runtime)
    try:
        return list(host.prepare(graph).kernels)
    finally:
        host.close()
