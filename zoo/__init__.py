"""Networks as ONNX graphs, built by our own code.

list()                  → names of all networks
build("mobilenet_v2")   → onnx.ModelProto
save("resnet50", path)  → the files written
find(name)              → Network: paper, year, published parameters and MACs
"""

from __future__ import annotations

from lwprof.zoo.registry import Figures, Network, build, draw, figures, find, networks, save

__all__ = ["Figures", "Network", "build", "draw", "figures", "find", "list", "networks", "save"]


def list() -> tuple[str, ...]:
    """Names of all networks, sorted."""
    return tuple(networks())
