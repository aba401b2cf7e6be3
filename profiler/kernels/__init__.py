"""What a runtime really executes: workloads and their mapping to operators.

    workload("Conv", [...])             → Workload: key, description, .to_model()
    Workload.from_description(…)        → the same, from a stored description
    onnxruntime_kernels(graph, optimised) → KernelMap: the kernels and the operators in them
    operators_workload(graph, names)    → the workload of operators that run as one kernel

Public names are loaded when first used, so that importing this package costs nothing;
``workload`` at once, because the module it lives in has its name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lwprof.profiler.kernels.workload import Workload, workload

if TYPE_CHECKING:
    from lwprof.profiler.kernels.grouping import operators_workload as operators_workload
    from lwprof.profiler.kernels.onnxruntime import Kernel as Kernel
    from lwprof.profiler.kernels.onnxruntime import KernelMap as KernelMap
    from lwprof.profiler.kernels.onnxruntime import onnxruntime_kernels as onnxruntime_kernels

_LAZY = {
    "Kernel": "lwprof.profiler.kernels.onnxruntime",
    "KernelMap": "lwprof.profiler.kernels.onnxruntime",
    "onnxruntime_kernels": "lwprof.profiler.kernels.onnxruntime",
    "operators_workload": "lwprof.profiler.kernels.grouping",
}

__all__ = [
    "Kernel", "KernelMap", "Workload", "onnxruntime_kernels", "operators_workload", "workload",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
