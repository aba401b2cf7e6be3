"""How far a layer is factorised: by an error bound, by its share of work, by a cost model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwprof.compression.factorisation.stages import Factors, Layer, write
from lwprof.compression.layers import ConvLayer, conv_layers, dense_layers
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.transform import Draft, Given, Transform
from lwprof.profiler.graph import read


@dataclass(frozen=True, slots=True)
class Method:
    """One factorisation with one size: a rank, or a share of ranks.

    Attributes:
        unfit: why a layer is not for it; None where it is.
        sizes: sizes that make sense for a layer, rising.
        macs: multiply-accumulates of the layer factorised to a size.
        factorise: the factors of a layer at a size.
        errors: the errors of all sizes at once, where a closed form gives them.
    """

    unfit: Callable[[Layer], str | None]
    sizes: Callable[[Layer], Sequence[int]]
    macs: Callable[[Layer, int], int]
    factorise: Callable[[Layer, int, Given], Factors]
    errors: Callable[[Layer, Sequence[int]], Sequence[float]] | None = field(default=None)


def grid(most: int) -> list[int]:
    """Ranks worth trying: each up to 16, then multiples of 8, which kernels like."""
    return [*range(1, min(most, 16) + 1), *range(24, most + 1, 8)]


def factorise_all(draft: Draft, method: Method) -> None:
    """Factorises every layer that gains by it, and names the others with the reason."""
    layers: list[Layer] = [*conv_layers(draft.rewriting), *dense_layers(draft.rewriting)]
    fitting = []
    for layer in layers:
        reason = method.unfit(layer)
        if reason is None:
            fitting.append(layer)
        else:
            draft.refused[layer.node.name] = reason
    for layer in fitting:
        chosen = choose(method, layer, draft.given)
        if isinstance(chosen, str):
            draft.refused[layer.node.name] = chosen
            continue
        reason = _priced(draft, layer, chosen)
        if reason is not None:
            draft.refused[layer.node.name] = reason
            continue
        write(draft.rewriting, layer, chosen)
        draft.note_error(chosen.error)
        draft.changed.append(layer.node.name)


def choose(method: Method, layer: Layer, given: Given) -> Factors | str:
    """The factors of a layer, or why it is better left alone."""
    sizes = [size for size in method.sizes(layer) if method.macs(layer, size) < layer.macs]
    if not sizes:
        return "every rank would cost more than the layer"
    if given.work is not None:
        within = [s for s in sizes if method.macs(layer, s) <= given.work * layer.macs]
        if not within:
            return f"no rank costs less than {given.work:.0%} of the layer"
        return method.factorise(layer, within[-1], given)
    too_far = f"the rank that keeps its error within {given.error:.1%} would cost more than it"
    if method.errors is not None:
        errors = method.errors(layer, sizes)
        fitting = [s for s, e in zip(sizes, errors, strict=True) if e <= given.error]
        return method.factorise(layer, fitting[0], given) if fitting else too_far
    return _bisect(method, layer, sizes, given) or too_far


def _bisect(method: Method, layer: Layer, sizes: Sequence[int], given: Given) -> Factors | None:
    """The smallest size within the error bound, errors falling with size."""
    best = method.factorise(layer, sizes[-1], given)
    if best.error > given.error:
        return None
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        found = method.factorise(layer, sizes[middle], given)
        if found.error <= given.error:
            best, high = found, middle
        else:
            low = middle + 1
    return best


def _priced(draft: Draft, layer: Layer, factors: Factors) -> str | None:
    """Why the cost model is against it: the chain alone is no faster than the layer alone."""
    price = draft.given.price
    if price is None:
        return None
    whole = alone(draft.rewriting, layer)
    parts = Rewriting(read(whole))
    layers: list[Layer] = [*conv_layers(parts), *dense_layers(parts)]
    target = layers[0]
    write(parts, target, factors)
    before, after = price(whole), price(parts.finish())
    if after < before:
        return None
    return f"the cost model expects {after / before:.2f} × its time"


def alone(rewriting: Rewriting, layer: Layer) -> Any:
    """A model of one layer, with its shapes and numbers."""
    import onnx
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(layer.weight.dtype))
    nodes = [layer.node] if isinstance(layer, ConvLayer) else list(layer.nodes)
    stored = [
        numpy_helper.from_array(array, name)
        for name in dict.fromkeys(n for node in nodes for n in node.input)
        if (array := rewriting.constant(name)) is not None
    ]
    graph = helper.make_graph(
        nodes, layer.node.name or "layer",
        [helper.make_tensor_value_info(layer.source, kind, layer.in_shape)],
        [helper.make_tensor_value_info(layer.result, kind, layer.out_shape)], stored,
    )  # fmt: skip
    model = onnx.ModelProto(ir_version=rewriting.graph.proto.ir_version)
    model.graph.CopyFrom(graph)
    model.opset_import.extend(rewriting.graph.proto.opset_import)
    return model


def transform(id: str, technique: str, row: str, applies: str, method: Method) -> Transform:
    """A factorisation as a transform."""
    return Transform(id, technique, row, "approximate", applies,
                     lambda draft: factorise_all(draft, method))  # fmt: skip
