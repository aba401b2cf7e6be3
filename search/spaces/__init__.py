"""Search spaces: blocks × choices, translated to and from what people publish.

- ``space("nasbench201")``: one space by its name
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
    "fbnet": ("lwprof.search.spaces.fbnet", "FBNet"),
    "nasbench201": ("lwprof.search.spaces.nasbench201", "NasBench201"),
    "ofa_mobilenet_v3": ("lwprof.search.spaces.ofa", "OfaMobileNetV3"),
}


def names() -> tuple[str, ...]:
    """Names of all spaces, sorted."""
    return tuple(_SPACES)


@cache
def space(name: str) -> CodedSpace:
    """The search space of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in _SPACES:
        raise UsageError(f"no search space is called {name!r}; there are {', '.join(_SPACES)}")
    module, kind = _SPACES[name]
    found: CodedSpace = getattr(importlib.import_module(module), kind)()
    return found


__all__ = ["names", "space"]
