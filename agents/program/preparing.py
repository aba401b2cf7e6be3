"""Finding out what a runtime makes of a model: its optimised graph and who runs which node."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import inputs, ort_runtime, runtime_session
from .ort_import import import_onnxruntime, short_name


def prepare(path: str, options: Dict[str, Any], specs: Any, into: str) -> Dict[str, Any]:
    """Loads a model once, saves the graph that the runtime will execute, and runs it.

    Args:
        specs: input data (see ``inputs.build``); None leaves the run out.
        into: where to save the optimised graph; nothing is left there when the runtime
            has none to give.

    Returns:
        ``providers``, ``node_providers`` (nodes by what really ran them, from a profile),
        ``outputs``.

    Raises:
        Failure: kinds ``model``, ``provider``, ``runtime_missing``, ``memory``.
    """
    if options.get("runtime", "onnxruntime") != "onnxruntime":
        return _other_runtime(path, options, specs)
    runtime_session.import_runtime(options)
    ort = import_onnxruntime()
    feeds = {} if specs is None else inputs.build(specs)
    options = dict(options, profile=specs is not None)
    session = ort_runtime.OrtSession(
        ort_runtime.create(ort, path, options, optimised=into),
        ort_runtime.feeds_for(ort, feeds),
        options,
    )
    result: Dict[str, Any] = {"providers": session.providers, "outputs": [], "node_providers": {}}
    placed = session.assignment
    if specs is not None:
        result["outputs"] = describe(session.output_names, session.first())
        placed = _placed(session.profile_end()) or placed
    ort_runtime.check_assignment(placed, options)
    result["node_providers"] = {provider: len(nodes) for provider, nodes in placed.items()}
    session.close()
    # Weights beside the graph (models near 2 GiB) are not needed to know its kernels.
    if os.path.exists(into + ".data"):
        os.remove(into + ".data")
    return result


def _other_runtime(path: str, options: Dict[str, Any], specs: Any) -> Dict[str, Any]:
    session = runtime_session.load(path, options, inputs.build(specs or []))
    outputs = describe(session.output_names, runtime_session.first(session))
    providers = list(session.providers)
    session.close()
    return {"providers": providers, "outputs": outputs, "node_providers": {}}


def _placed(profile: Dict[str, Any]) -> Dict[str, List[str]]:
    placed: Dict[str, List[str]] = {}
    for node in profile["nodes"] + profile["inner"]["nodes"]:
        provider = short_name(node["provider"])
        placed.setdefault(provider, []).append("%s %s" % (node["op"], node["name"]))
    return placed


def describe(names: Sequence[str], values: Sequence[Any]) -> List[Dict[str, Any]]:
    """Name, element type and shape of each output; a sequence, map or None by its type."""
    out = []
    for index, value in enumerate(values):
        name = names[index] if index < len(names) else ""
        shape, dtype = _form(value)
        out.append(
            {
                "name": name,
                "dtype": dtype,
                "shape": None if shape is None else [int(extent) for extent in shape],
            }
        )
    return out


def _form(value: Any) -> Tuple[Optional[Sequence[int]], str]:
    shape = getattr(value, "shape", None)
    if shape is None:
        return None, type(value).__name__
    if callable(shape):  # a value that was left inside the runtime
        return shape(), str(value.data_type())
    return shape, str(value.dtype)
