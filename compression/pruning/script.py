"""``script.py:function`` from the command line: the user's own code, on the user's own word."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lwprof.errors import UsageError


def load_function(address: str) -> Callable[..., Any]:
    """The function that ``script.py:function`` names; the script's top level is run.

    Raises:
        UsageError: no such file or function, or the script fails while it is loaded.
    """
    path, colon, name = address.rpartition(":")
    file = Path(path)
    if not colon or file.suffix != ".py" or not file.is_file():
        raise UsageError(f"{address!r} names no function: write script.py:function")
    spec = importlib.util.spec_from_file_location(f"lwprof_script_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be loaded as a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's script raises
        raise UsageError(f"{file} failed while loading: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{file} has no function {name!r}")
    return function  # type: ignore[no-any-return]
