"""Reading an ONNX model: checks, shapes, costs per operator, memory.

    read(model)            → Graph: checked, concrete shapes, costs per operator
    input_specs(graph)     → what data fits each input
    materialise(graph)     → the same graph with generated weights written out, for timing
    inspection.inspect(…)  → Inspection, what ``lwprof inspect`` prints

Public names are loaded when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lwprof.profiler.graph.model import Graph, Operator, Tensor

if TYPE_CHECKING:
    from lwprof.profiler.graph.feeds import input_specs as input_specs
    from lwprof.profiler.graph.reading import read as read
    from lwprof.profiler.graph.weights import materialise as materialise

_LAZY = {
    "input_specs": "lwprof.profiler.graph.feeds",
    "materialise": "lwprof.profiler.graph.weights",
    "read": "lwprof.profiler.graph.reading",
}

__all__ = ["Graph", "Operator", "Tensor", "input_specs", "materialise", "read"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
