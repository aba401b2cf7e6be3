"""Importing ONNX Runtime, and the short names of its execution providers."""

from __future__ import annotations

import warnings
from typing import Any

from .failures import Failure

SUFFIX = "ExecutionProvider"


def import_onnxruntime() -> Any:
    """The module.

    Raises:
        Failure: kind ``runtime_missing``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import onnxruntime
    except ImportError as error:
        raise Failure(
            "runtime_missing",
            "onnxruntime cannot be imported on the device (%s): pip install onnxruntime" % error,
        ) from None
    return onnxruntime


def short_name(provider: str) -> str:
    """``CPU`` for ``CPUExecutionProvider``."""
    return provider[: -len(SUFFIX)] if provider.endswith(SUFFIX) else provider
