"""Ranges in which an operator is at home on floating-point inputs: no NaN, no infinities."""

from __future__ import annotations

from collections.abc import Mapping

Range = tuple[float, float]

_POSITIVE: Range = (0.5, 2.0)
_UNIT: Range = (0.0, 1.0)
_INNER: Range = (-0.9, 0.9)

_RANGES: Mapping[tuple[str, int], Range] = {
    ("Log", 0): _POSITIVE, ("Sqrt", 0): _POSITIVE, ("Reciprocal", 0): _POSITIVE,
    ("ReduceLogSum", 0): _POSITIVE, ("Div", 1): _POSITIVE, ("Pow", 0): _POSITIVE,
    ("Mod", 1): _POSITIVE, ("Acosh", 0): (1.0, 3.0), ("Acos", 0): _INNER, ("Asin", 0): _INNER,
    ("Atanh", 0): _INNER, ("BatchNormalization", 4): _POSITIVE, ("Bernoulli", 0): _UNIT,
    ("NonMaxSuppression", 0): _UNIT, ("NonMaxSuppression", 1): _UNIT,
    ("NonMaxSuppression", 3): (0.5, 0.5), ("NonMaxSuppression", 4): (0.0, 0.0),
    ("RoiAlign", 1): _UNIT, ("MaxRoiPool", 1): (0.0, 0.0), ("GridSample", 1): (-1.0, 1.0),
    ("QuantizeLinear", 1): (0.05, 0.1), ("DequantizeLinear", 1): (0.05, 0.1),
    ("QLinearConv", 1): (0.05, 0.1), ("QLinearConv", 4): (0.05, 0.1),
    ("QLinearConv", 6): (0.05, 0.1), ("QLinearMatMul", 1): (0.05, 0.1),
    ("QLinearMatMul", 4): (0.05, 0.1), ("QLinearMatMul", 6): (0.05, 0.1),
    ("Dropout", 1): (0.5, 0.5), ("Range", 0): (0.0, 0.0), ("Range", 2): (1.0, 1.0),
    ("MelWeightMatrix", 3): (0.0, 0.0), ("MelWeightMatrix", 4): (4096.0, 4096.0),
    ("Clip", 1): (-1.0, -1.0), ("Clip", 2): (1.0, 1.0), ("DeformConv", 2): _INNER,
    ("Attention", 3): (0.0, 0.0), ("LinearAttention", 4): (-1.0, -0.1),
    ("LinearAttention", 5): _UNIT, ("Multinomial", 0): (-2.0, 0.0),
}  # fmt: skip


def at_home(type_: str, place: int) -> Range | None:
    """The range [low, high] for an operator's input; None where any finite number will do."""
    return _RANGES.get((type_, place))
