"""Search spaces: blocks × choices, translated to and from what people publish.

- ``space("nasbench201")``: one space by its name
- ``space("mine.csv")``, ``space("mine.py:Mine")``: a space of one's own, see ``spaces.own``
- ``names()``: all of them
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from lwprof.errors import UsageError

if TYPE_CHECKING:
    from lwprof.search.spaces.coded import CodedSpace

_SPACES = {
    "chain": ("lwprof.search.spaces.chain", "Chain"),
    "chain_residual": ("lwprof.search.spaces.chain", "ResidualChain"),
    "darts": ("lwprof.search.spaces.cells", "DartsCells"),
    "fbnet": ("lwprof.search.spaces.fbnet", "FBNet"),
    "hierarchical": ("lwprof.search.spaces.hierarchical", "Hierarchical"),
    "mnasnet": ("lwprof.search.spaces.mnasnet", "MnasNet"),
    "nasbench201": ("lwprof.search.spaces.nasbench201", "NasBench201"),
    "nasnet": ("lwprof.search.spaces.cells", "NasNetCells"),
    "ofa_mobilenet_v3": ("lwprof.search.spaces.ofa", "OfaMobileNetV3"),
    "proxylessnas": ("lwprof.search.spaces.proxylessnas", "ProxylessNas"),
    "tinynas": ("lwprof.search.spaces.tinynas", "TinyNas"),
}


def names() -> tuple[str, ...]:
    """Names of all spaces, sorted."""
    return tuple(_SPACES)


def space(name: str) -> CodedSpace:
    """The search space of that name, in that ``.csv`` table, or made by ``script.py:Class``.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name.endswith(".csv") or ".py:" in name:
        own: CodedSpace = importlib.import_module("lwprof.search.spaces.own").open_space(name)
        return own
    if name not in _SPACES:
        raise UsageError(f"no search space is called {name!r}; there are {', '.join(_SPACES)}")
    module, kind = _SPACES[name]
    return _made(module, kind)


@cache
def _made(module: str, kind: str) -> CodedSpace:
    found: CodedSpace = getattr(importlib.import_module(module), kind)()
    return found


__all__ = ["names", "space"]
