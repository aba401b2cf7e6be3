"""Search spaces and strategies that call a cost model.

- ``space("nasbench201")``: blocks × choices, see ``lwprof.search.spaces``
- ``pick(merit, codes, regressor, limit=…)``: the best candidate that meets a limit
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwprof.search.pick import PickResult as PickResult
    from lwprof.search.pick import pick as pick
    from lwprof.search.spaces import space as space

_LAZY = {"PickResult": "lwprof.search.pick", "space": "lwprof.search.spaces"}

__all__ = ["PickResult", "pick", "space"]


def __getattr__(name: str) -> object:
    if name == "pick":
        # The module has its function's name, and importing it would set the module here.
        function = importlib.import_module("lwprof.search.pick").pick
        globals()["pick"] = function
        return function
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
