"""Data that fits each input of a graph, as a JSON description."""

from __future__ import annotations

from typing import Any

from lwprof.profiler.graph.model import Graph, Tensor


def input_specs(graph: Graph, seed: int = 0) -> list[dict[str, Any]]:
    """One description per input, in the graph's order."""
    return [_spec(tensor, seed + place) for place, tensor in enumerate(graph.inputs)]


def _spec(tensor: Tensor, seed: int) -> dict[str, Any]:
    dtype = tensor.dtype or "float32"
    if dtype == "bool":
        fill: dict[str, Any] = {"kind": "bool", "seed": seed}
    elif dtype == "string":
        fill = {"kind": "strings", "seed": seed}
    elif dtype.startswith(("int", "uint")):
        fill = {"kind": "integers", "low": 0, "high": 2, "seed": seed}
    else:
        fill = {"kind": "normal", "seed": seed}
    shape = [extent or 0 for extent in tensor.shape or ()]
    return {"name": tensor.name, "kind": "tensor", "dtype": dtype, "shape": shape, "fill": fill}
