"""Kernels of a runtime on this host, for ``lwprof inspect --runtime``."""

from __future__ import annotations

from lwprof.profiler.graph import Graph, materialise
from lwprof.profiler.kernels import Kernel
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare


def kernels_on_host(graph: Graph, runtime: str = "onnxruntime") -> list[Kernel]:
    """What ``runtime`` on this machine makes of a graph, in execution order.

    Raises:
        MissingExtra: the runtime is not installed.
        ModelError: the runtime refuses the model.
    """
    settings = Settings(runtime=runtime)
    with open_device("host") as link:
        link.context(settings, 1)  # says what to install where the runtime is missing
        return list(prepare(link.agent, materialise(graph), settings, 1).kernels)
