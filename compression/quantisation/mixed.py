"""int8 where it pays and float32 elsewhere, layer by layer, by the device's own cost (HAQ's question).

Each layer is priced alone in both precisions, the int8 one with the conversions at its borders:
neighbours that are both int8 need none, so what this chooses is on the safe side.
"""

from __future__ import annotations

import hashlib
from typing import Any

from lwprof.compression.factorisation.choosing import alone
from lwprof.compression.layers import ConvLayer, DenseLayer, conv_layers, dense_layers
from lwprof.compression.quantisation.precision import INT8_STATIC, to_int8_static
from lwprof.compression.transform import Draft, Transform
from lwprof.errors import CostMiss


def mixed(draft: Draft) -> None:
    """Quantises the layers that the cost model expects to be faster as int8."""
    price = draft.given.price
    if price is None:
        draft.refused[""] = "it needs the device's cost model: run lwprof measure and lwprof fit"
        return
    layers: list[ConvLayer | DenseLayer] = [
        *conv_layers(draft.rewriting), *dense_layers(draft.rewriting)
    ]  # fmt: skip
    chosen: list[str] = []
    known: dict[str, float | str] = {}
    for layer in layers:
        key = _work(layer)
        if key not in known:
            known[key] = _ratio(draft, layer, price)
        ratio = known[key]
        if isinstance(ratio, str):
            draft.refused[layer.node.name] = ratio
        elif ratio >= 1:
            draft.refused[layer.node.name] = "int8 is expected to be no faster"
        else:
            chosen.append(layer.node.name)
    if chosen:
        to_int8_static(draft, nodes=chosen)


def _ratio(draft: Draft, layer: Any, price: Any) -> float | str:
    """Expected time as int8 over that as float32; text where there is no answer."""
    single = alone(draft.rewriting, layer)
    done = INT8_STATIC.apply(single)
    if not done.applied:
        return done.reason
    try:
        return float(price(done.model) / price(single))
    except CostMiss:
        return "the cost model does not know it in one of the precisions"


def _work(layer: ConvLayer | DenseLayer) -> str:
    """Equal for layers of equal shapes and attributes, whatever their numbers."""
    text = [layer.node.op_type, layer.in_shape, layer.out_shape, layer.weight.shape,
            layer.has_bias, sorted(str(a) for a in layer.node.attribute)]  # fmt: skip
    return hashlib.sha256(repr(text).encode()).hexdigest()


MIXED_PRECISION = Transform(
    "mixed_precision", "int8 or float32 layer by layer, by cost", "C12", "approximate",
    "Conv, Gemm and MatMul, with a cost model", mixed, prices=True,
)  # fmt: skip
