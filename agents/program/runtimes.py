"""Which runtimes are installed here, in which versions, with which execution providers."""

from __future__ import annotations

import importlib.util
from typing import Any, Dict, Optional

from .failures import Failure, one_line
from .ort_import import import_onnxruntime, short_name

# TVM takes seconds to import, so its presence and version are read from its metadata.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-training"),
    "tvm": ("apache-tvm", "tvm"),
    "numpy": ("numpy",),
}


def installed() -> Dict[str, Any]:
    """By name: ``version``, and for ONNX Runtime ``providers``, or ``error``: why it, though
    installed, cannot be used."""
    found: Dict[str, Any] = {}
    numpy_version = _version("numpy")
    if numpy_version:
        found["numpy"] = {"version": numpy_version}
    if importlib.util.find_spec("onnxruntime") is not None:
        found["onnxruntime"] = _onnxruntime()
    if importlib.util.find_spec("tvm") is not None:
        found["tvm"] = {"version": _version("tvm") or "unknown"}
    return found


def _onnxruntime() -> Dict[str, Any]:
    try:
        module = import_onnxruntime()
        providers = [short_name(name) for name in module.get_available_providers()]
        return {"version": str(module.__version__), "providers": providers}
    except Failure as failure:
        return {"error": failure.message}
    except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
        return {"error": one_line("%s: %s" % (type(error).__name__, error))}


def _version(name: str) -> Optional[str]:
    from importlib import metadata

    for distribution in _DISTRIBUTIONS[name]:
        try:
            return str(metadata.version(distribution))
        except metadata.PackageNotFoundError:
            continue
    return None
