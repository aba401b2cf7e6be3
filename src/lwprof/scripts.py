"""``script.py:name`` from the command line: the user's own code, run on the user's own word."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lwprof.errors import UsageError


def load(address: str) -> Any:
    """What ``script.py:name`` names; the script's top level is run, as Python runs it.

    Raises:
        UsageError: no such file or name, or the script fails while it is loaded.
    """
    path, colon, name = address.rpartition(":")
    file = Path(path)
    if not colon or file.suffix != ".py" or not name.isidentifier():
        raise UsageError(f"{address!r} names nothing in a script: write script.py:name")
    if not file.is_file():
        raise UsageError(f"{address!r}: there is no file {path}; write script.py:name")
    found = importlib.util.spec_from_file_location(f"lwprof_script_{file.stem}", file)
    if found is None or found.loader is None:
        raise UsageError(f"{path} cannot be loaded as a Python script")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:  # whatever the user's script raises
        raise UsageError(f"{path} failed while loading: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise UsageError(f"{path} has nothing called {name!r}")
    return getattr(module, name)


def load_function(address: str) -> Callable[..., Any]:
    """The function that ``script.py:function`` names.

    Raises:
        UsageError: as ``load``, or what is named cannot be called.
    """
    function = load(address)
    if not callable(function):
        raise UsageError(f"{address} is no function")
    return function  # type: ignore[no-any-return]
