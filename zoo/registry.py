"""Every network by name, and the one way to build it.

A family is a module of `lwprof.zoo.families`, found by being there; its function draws the
graph and its `@network` lines say which networks it makes.
"""

from __future__ import annotations

import csv
import difflib
import importlib
import pkgutil
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lwprof.errors import UsageError

PRECISIONS = {"float32": 4, "float16": 2}  # bytes of one number
# A protobuf message ends at 2 GiB; weights beyond this go to a file beside the model.
_EXTERNAL_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of networks.csv: a network at its defaults, batch 1.

    Attributes:
        year, paper: when; title and arXiv number or venue.
        published_params, published_macs: None where none are known.
        source: where the two are from, and under which convention.
        params, macs, peak_memory_bytes: what `lwprof.profiler.graph` counts.
    """

    year: int
    paper: str
    published_params: int | None
    published_macs: int | None
    source: str
    params: int
    macs: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Network:
    """One entry of the zoo.

    Attributes:
        name: torchvision's name where it has the network.
        function: draws the graph: ``function(net, **settings)`` returns its outputs.
        settings: what this network passes to ``function``.
        options: what a caller may change, with this network's values.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    settings: dict[str, Any]
    options: dict[str, Any]


_NETWORKS: dict[str, Network] = {}


def network(
    name: str, *, resolution: int | None = 224, classes: int | None = 1000,
    width: float | None = None, **settings: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
    """Registers ``name`` as what the decorated function draws with ``settings``.

    None for ``resolution``, ``classes`` or ``width``: the network has no such option.
    """
    given = {"width": width, "resolution": resolution, "classes": classes, "batch": 1}
    options = {key: value for key, value in given.items() if value is not None}

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _NETWORKS[name] = Network(name, function, settings, options)
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
    """The table of networks by name, sorted; reading it loads no family and no library."""
    with Path(__file__).with_name("networks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {name: Figures(int(year), paper, int(params) if params else None,
                          int(macs) if macs else None, source, *map(int, counts))
            for name, year, paper, params, macs, source, *counts in rows}  # fmt: skip


def find(name: str) -> Network:
    """The entry called ``name``; ``sampled_N`` is the random network number N.

    Raises:
        UsageError: there is none; the message names near matches.
    """
    known = networks()
    if name in known:
        return known[name]
    if is_sampled(name):
        from lwprof.zoo.sampled import sampled

        return Network(name, sampled, {"draw": int(name.removeprefix("sampled_"))}, {"batch": 1})
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "'lwprof zoo' lists the networks"
    raise UsageError(f"no zoo network is called {name!r}: {hint}")


def is_sampled(name: str) -> bool:
    """Whether ``name`` stands for a network drawn at random: ``sampled_17``."""
    return re.fullmatch(r"sampled_\d{1,9}", name) is not None


def build(
    name: str, width: float | None = None, resolution: int | None = None,
    classes: int | None = None, batch: int | None = None, precision: str = "float32",
    weights: str = "seeded", seed: int = 0,
) -> Any:  # fmt: skip
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
    return _build(find(name), given, precision, _source(weights, seed))


def draw(
    function: Callable[..., Any], *, name: str = "network", precision: str = "float32",
    weights: str = "seeded", seed: int = 0, **settings: Any,
) -> Any:  # fmt: skip
    """What a family's ``function`` draws with ``settings``, as an ``onnx.ModelProto``.

    For networks without a name, such as a search finds:
    ``draw(families.nasbench201.nasbench201, cell=…)``. The options of `build` may be among
    ``settings``; those left out are as in the first network made by ``function``.

    Raises:
        UsageError: an unknown precision or kind of weights.
        ModelError: the resolution is too small for the network.
    """
    alike = (entry.options for entry in networks().values() if entry.function is function)
    options = next(alike, {"width": 1.0, "resolution": 224, "classes": 1000, "batch": 1})
    chosen = {key: settings.pop(key, value) for key, value in options.items()}
    return _draw(name, function, settings, chosen, precision, _source(weights, seed))


def save(
    name: str, path: str | Path, *, precision: str = "float32", weights: str = "seeded",
    seed: int = 0, **given: Any,
) -> list[Path]:  # fmt: skip
    """Writes the network to ``path``, weights above 1 GB to ``<path>.data``; returns the files.

    Raises:
        UsageError: as `build`, or the file cannot be written.
        ModelError: as `build`.
    """
    from lwprof.zoo.weights import ConstantWeights, StreamedWeights

    entry, source, counted = find(name), _source(weights, seed), ConstantWeights()
    path, beside = Path(path), Path(f"{path}.data")
    model = _build(entry, given, precision, counted)
    needed = counted.drawn * PRECISIONS[precision]
    try:
        if weights == "none" or needed < _EXTERNAL_BYTES:
            path.write_bytes(_build(entry, given, precision, source).SerializeToString())
            return [path]
        if needed > (free := shutil.disk_usage(beside.parent).free):
            raise UsageError(f"{path} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} are free")
        with beside.open("wb") as file:
            model = _build(entry, given, precision, StreamedWeights(seed, file, beside.name))
        path.write_bytes(model.SerializeToString())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return [path, beside]


def _source(weights: str, seed: int) -> Any:
    from lwprof.zoo.weights import ConstantWeights, SeededWeights

    if weights not in ("seeded", "none"):
        raise UsageError(f"weights can be 'seeded' or 'none', not {weights!r}")
    if seed < 0:
        raise UsageError(f"a seed is a whole number from 0, not {seed}")
    return SeededWeights(seed) if weights == "seeded" else ConstantWeights()


def _build(entry: Network, given: dict[str, Any], precision: str, weights: Any) -> Any:
    chosen = {key: value for key, value in given.items() if value is not None}
    for key, value in chosen.items():
        if key not in entry.options:
            raise UsageError(f"{entry.name} takes no {key}; it takes {', '.join(entry.options)}")
        if not 0 < value < 10**6 or (key != "width" and value != int(value)):
            kind = "number" if key == "width" else "whole number"
            raise UsageError(f"{key} must be a positive {kind} below a million, not {value!r}")
    return _draw(entry.name, entry.function, entry.settings, entry.options | chosen, precision,
                 weights)  # fmt: skip


def _draw(
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
