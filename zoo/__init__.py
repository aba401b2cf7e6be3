"""Networks as ONNX graphs, built by our own code.

- ``list()``: names of all networks
- ``figures()``: year, paper, parameters, MACs and peak memory by name
- ``build("mobilenet_v2")``: an onnx.ModelProto
- ``draw(function, …)``: the same from a family's function, for networks without a name
- ``save("resnet50", path)``: writes a file, streaming large weights beside it
- ``is_sampled(name)``: ``sampled_17`` and its like are drawn at random, the same everywhere
- ``find(name)``: Network: its function and the options it takes
- ``substitutions()``: the survey's cheaper structures beside the originals

Names and figures are read from networks.csv; numpy and onnx are loaded by the first `build`.
"""

from __future__ import annotations

from lwprof.zoo.registry import (
    Figures,
    Network,
    build,
    draw,
    figures,
    find,
    is_sampled,
    networks,
    save,
)
from lwprof.zoo.substitutions import Substitution, substitutions

__all__ = [
    "Figures", "Network", "Substitution", "build", "draw", "figures", "find", "is_sampled", "list",
    "networks", "save", "substitutions",
]  # fmt: skip


def list() -> tuple[str, ...]:
    """Names of all networks, sorted."""
    return tuple(figures())
