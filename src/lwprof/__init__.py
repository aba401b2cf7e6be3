"""lwprof: a hardware-aware latency and energy profiler for neural networks.

Importing this package is cheap: each public name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwprof import zoo as zoo
    from lwprof.errors import CostMiss as CostMiss
    from lwprof.errors import LwprofError as LwprofError

__version__ = "0.1.0"

# public name -> module it lives in (None: the name is itself a subpackage)
_PUBLIC = {
    "CostMiss": "lwprof.errors",
    "LwprofError": "lwprof.errors",
    "zoo": None,
}

__all__ = ["CostMiss", "LwprofError", "__version__", "zoo"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lwprof' has no attribute {name!r}")
    module = _PUBLIC[name]
    if module is None:
        return importlib.import_module(f"lwprof.{name}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
