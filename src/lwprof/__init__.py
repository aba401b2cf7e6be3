"""lwprof: a hardware-aware latency and energy profiler for neural networks.

Importing this package is cheap: each public name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwprof import predictors as predictors
    from lwprof import search as search
    from lwprof import zoo as zoo
    from lwprof.api import compare as compare
    from lwprof.api import cost_model as cost_model
    from lwprof.api import fit as fit
    from lwprof.api import inspect as inspect
    from lwprof.api import measure as measure
    from lwprof.api import predict as predict
    from lwprof.auditing import audit as audit
    from lwprof.errors import CostMiss as CostMiss
    from lwprof.errors import LwprofError as LwprofError
    from lwprof.profiler.kernels.workload import workload as workload
    from lwprof.profiler.session.result import MeasurementResult as MeasurementResult
    from lwprof.pruning import prune as prune
    from lwprof.reporting import report as report
    from lwprof.searching import search_architectures as search_architectures
    from lwprof.torch_export import from_torch as from_torch

__version__ = "0.1.0"

# public name -> module it lives in (None: the name is itself a subpackage)
_PUBLIC = {
    "CostMiss": "lwprof.errors",
    "LwprofError": "lwprof.errors",
    "MeasurementResult": "lwprof.profiler.session.result",
    "audit": "lwprof.auditing",
    "compare": "lwprof.api",
    "cost_model": "lwprof.api",
    "fit": "lwprof.api",
    "from_torch": "lwprof.torch_export",
    "inspect": "lwprof.api",
    "measure": "lwprof.api",
    "predict": "lwprof.api",
    "predictors": None,
    "prune": "lwprof.pruning",
    "report": "lwprof.reporting",
    "search": None,
    "search_architectures": "lwprof.searching",
    "workload": "lwprof.profiler.kernels.workload",
    "zoo": None,
}

__all__ = [
    "CostMiss", "LwprofError", "MeasurementResult", "__version__", "audit", "compare", "cost_model",
    "fit", "from_torch", "inspect", "measure", "predict", "predictors", "prune", "report", "search",
    "search_architectures",
    "workload", "zoo",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lwprof' has no attribute {name!r}")
    module = _PUBLIC[name]
    if module is None:
        return importlib.import_module(f"lwprof.{name}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
