"""Networks as ONNX graphs, built by our own code.

- ``list()``: names of all networks
- ``build("mobilenet_v2")``: an onnx.ModelProto
- ``draw(function, …)``: the same from a family's function, for networks without a name
- ``save("resnet50", path)``: writes a file, streaming large weights beside it
- ``find(name)``: Network: paper, year, published parameters and MACs
- ``figures()``: parameters, MACs and peak memory by name
- ``substitutions()``: the survey's cheaper structures beside the originals
"""

from __future__ import annotations

from lwprof.zoo.registry import Figures, Network, build, draw, figures, find, networks, save
from lwprof.zoo.substitutions import Substitution, substitutions

__all__ = [
    "Figures",
    "Network",
    "Substitution",
    "build",
    "draw",
    "figures",
    "find",
    "list",
    "networks",
    "save",
    "substitutions",
]


def list() -> tuple[str, ...]:
    """Names of all networks, sorted."""
    return tuple(networks())
