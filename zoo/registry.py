"""Every network by name, and the one way to build it.

A family is a module of `lwprof.zoo.families`, found by being there; its function draws the
graph and its `@network` lines say which networks it makes.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lwprof.errors import UsageError

PRECISIONS = ("float32", "float16")
# A protobuf message ends at 2 GiB; weights beyond this go to a file beside the model.
_EXTERNAL_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class Network:
    """One entry of the zoo.

    Attributes:
        name: torchvision's name where it has the network.
        function: draws the graph: ``function(net, **settings)`` returns its outputs.
        settings: what this network passes to ``function``.
        defaults: what a caller may change, with this network's values.
        year: of the paper.
        paper: title and arXiv number or venue.
        params: learned parameters of the published implementation; None where none is known.
        macs: published multiply-accumulates per sample at the default resolution.
        source: where ``params`` and ``macs`` are from, and under which convention.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    settings: dict[str, Any]
    defaults: dict[str, Any]
    year: int
    paper: str
    params: int | None
    macs: float | None
    source: str

    def options(self) -> dict[str, Any]:
        """Arguments a caller may change, with their defaults."""
        return dict(self.defaults)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a network costs at its defaults, counted by `lwprof.profiler.graph`."""

    params: int
    macs: int
    peak_memory_bytes: int


_NETWORKS: dict[str, Network] = {}


def network(
    name: str,
    year: int,
    paper: str,
    params: int | None = None,
    macs: float | None = None,
    source: str = "",
    *,
    resolution: int | None = 224,
    classes: int | None = 1000,
    width: float | None = None,
    **settings: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers ``name`` as what the decorated function draws with ``settings``.

    None for ``resolution``, ``classes`` or ``width``: the network has no such option.
    """
    options = {"width": width, "resolution": resolution, "classes": classes, "batch": 1}
    defaults = {key: value for key, value in options.items() if value is not None}

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _NETWORKS[name] = Network(
            name, function, settings, defaults, year, paper, params, macs, source
        )
        return function

    return register


@cache
def networks() -> dict[str, Network]:
    """All networks by name, sorted."""
    from lwprof.zoo import families

    for family in pkgutil.iter_modules(families.__path__):
        importlib.import_module(f"{families.__name__}.{family.name}")
    return dict(sorted(_NETWORKS.items()))


@cache
def figures() -> dict[str, Figures]:
    """Figures by name, from figures.csv (``benchmarks/zoo_build.py --figures`` writes it)."""
    lines = Path(__file__).with_name("figures.csv").read_text(encoding="utf-8").split()[1:]
    rows = (line.split(",") for line in lines)
    return {name: Figures(*map(int, counts)) for name, *counts in rows}


def find(name: str) -> Network:
    """The entry called ``name``.

    Raises:
        UsageError: there is none; the message names near matches.
    """
    known = networks()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "'lwprof zoo' lists the networks"
    raise UsageError(f"no zoo network is called {name!r}: {hint}")


def build(
    name: str,
    width: float | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    batch: int | None = None,
    precision: str | None = None,
    weights: str = "seeded",
    seed: int = 0,
) -> Any:
    """The network ``name`` as an ``onnx.ModelProto``.

    Args:
        name: one of ``lwprof.zoo.list()``.
        width: multiplier of the channels; None (here and below): the paper's.
        resolution: height and width of the input in pixels.
        classes: number of outputs of the classifier.
        batch: samples per inference.
        precision: ``float32`` or ``float16``, of inputs, weights and results.
        weights: ``seeded`` stores random weights; ``none`` stores one number per tensor,
            expanded when a runtime loads the model, for profiling only.
        seed: same seed, same weights.

    Raises:
        UsageError: an unknown name, or an argument that the network does not have.
        ModelError: the resolution is too small for the network.
    """
    given = {"width": width, "resolution": resolution, "classes": classes, "batch": batch}
    return _draw(find(name), given, precision, _source(weights, seed))


def draw(
    function: Callable[..., Any],
    *,
    name: str = "network",
    precision: str = "float32",
    weights: str = "seeded",
    seed: int = 0,
    **settings: Any,
) -> Any:
    """What a family's ``function`` draws with ``settings``, as an ``onnx.ModelProto``.

    For networks without a name, such as a search finds:
    ``draw(families.nasbench201.nasbench201, cell=…)``. The options of `build` may be among
    ``settings``; those left out are as in the first network made by ``function``.

    Raises:
        UsageError: an unknown precision or kind of weights.
        ModelError: the resolution is too small for the network.
    """
    alike = (entry.defaults for entry in networks().values() if entry.function is function)
    options = next(alike, {"width": 1.0, "resolution": 224, "classes": 1000, "batch": 1})
    chosen = {key: settings.pop(key, value) for key, value in options.items()}
    return _drawn(name, function, settings, chosen, precision, _source(weights, seed))


def save(name: str, path: str | Path, *, weights: str = "seeded", seed: int = 0,
         precision: str | None = None, **given: Any) -> list[Path]:  # fmt: skip
    """Writes the network to ``path``; weights above 1 GB stream to ``<path>.data``.

    Returns:
        The files written.

    Raises:
        UsageError, ModelError: as `build`.
    """
    from lwprof.zoo.weights import StreamedWeights

    path = Path(path)
    model = build(name, weights="none", precision=precision, **given)
    external = path.with_name(path.name + ".data")
    if weights != "seeded" or _weight_bytes(model) < _EXTERNAL_BYTES:
        if weights != "none":
            model = build(name, weights=weights, seed=seed, precision=precision, **given)
        path.write_bytes(model.SerializeToString())
        return [path]
    stream = StreamedWeights(seed, external)
    try:
        model = _draw(find(name), given, precision, stream)
    finally:
        stream.close()
    path.write_bytes(model.SerializeToString())
    return [path, external]


def _source(weights: str, seed: int) -> Any:
    from lwprof.zoo.weights import ConstantWeights, SeededWeights

    if weights not in ("seeded", "none"):
        raise UsageError(f"weights can be 'seeded' or 'none', not {weights!r}")
    return SeededWeights(seed) if weights == "seeded" else ConstantWeights()


def _draw(entry: Network, given: dict[str, Any], precision: str | None, weights: Any) -> Any:
    chosen = {key: value for key, value in given.items() if value is not None}
    for key, value in chosen.items():
        if key not in entry.defaults:
            raise UsageError(f"{entry.name} takes no {key}; it takes {', '.join(entry.defaults)}")
        if not 0 < value < 10**6 or (key != "width" and value != int(value)):
            kind = "number" if key == "width" else "whole number"
            raise UsageError(f"{key} must be a positive {kind}, not {value!r}")
    return _drawn(entry.name, entry.function, entry.settings, entry.defaults | chosen,
                  precision or "float32", weights)  # fmt: skip


def _drawn(
    name: str, function: Callable[..., Any], settings: dict[str, Any], options: dict[str, Any],
    precision: str, weights: Any,
) -> Any:  # fmt: skip
    from lwprof.zoo.builder import Net

    if precision not in PRECISIONS:
        raise UsageError(f"precision can be {' or '.join(PRECISIONS)}, not {precision!r}")
    net = Net(weights, precision)
    for key, value in options.items():
        setattr(net, key, value)
    outputs = function(net, **settings)
    return net.finish(name, outputs if isinstance(outputs, tuple) else (outputs,))


def _weight_bytes(model: Any) -> int:
    """Bytes of the weights that ``model`` (built with weights="none") would store."""
    import math

    import numpy as np

    shapes = {t.name: np.frombuffer(t.raw_data, np.int64) for t in model.graph.initializer}
    made = (n.input[0] for n in model.graph.node if n.op_type == "ConstantOfShape")
    width = 2 if model.graph.input[0].type.tensor_type.elem_type == 10 else 4
    return width * sum(math.prod(map(int, shapes[name])) for name in made)
