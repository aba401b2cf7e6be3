"""The role a constant plays where it is read: a learned weight, or a setting."""

from __future__ import annotations

from collections.abc import Mapping

from lwprof.profiler.graph.elements import is_floating

# Operators whose result still is the same weight, when the weight is input 0.
VIEWS = frozenset(
    ("Identity", "Cast", "CastLike", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Flatten",
     "QuantizeLinear", "DequantizeLinear", "Expand", "Slice", "Split", "Tile", "Pad")
)  # fmt: skip

# Places of floating-point inputs that are settings, statistics or data, not weights.
_SETTINGS: Mapping[str, frozenset[int]] = {
    name: frozenset(places)
    for name, places in {
        "BatchNormalization": (3, 4), "Clip": (1, 2), "Resize": (1, 2, 3), "Upsample": (1,),
        "Pad": (2,), "Pow": (1,), "Dropout": (1, 2), "OneHot": (1, 2), "Range": (0, 1, 2),
        "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "Where": (0, 1, 2),
        "QLinearConv": (1, 2, 4, 5, 6, 7), "QLinearMatMul": (1, 2, 4, 5, 6, 7),
        "QGemm": (1, 2, 4, 5, 7, 8), "MatMulIntegerToFloat": (2, 3), "MatMulNBits": (2, 3),
        "DynamicQuantizeMatMul": (2, 3), "LSTM": (4, 5, 6), "GRU": (4, 5), "RNN": (4, 5),
        "Attention": (3, 4, 5, 6), "RotaryEmbedding": (1, 2, 3), "NonMaxSuppression": (3, 4),
        "TensorScatter": (0, 1), "If": (0,), "Loop": (0, 1),
    }.items()
}  # fmt: skip
# Operators none of whose floating inputs is a weight.
_NO_WEIGHTS = frozenset(
    ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Max", "Min", "Mod", "STFT",
     "DFT", "MelWeightMatrix", "GridSample", "RoiAlign", "ConstantOfShape", "Shape", "Size",
     "CastLike", "IsNaN", "IsInf", "BitShift", "Trilu", "NonZero", "TopK", "ArgMax", "ArgMin",
     "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearConcat",
     "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSoftmax", "Loop", "Scan")
)  # fmt: skip
_ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Concat"))
# Places of integer inputs that are quantised weights.
_QUANTISED: Mapping[str, frozenset[int]] = {
    name: frozenset(places)
    for name, places in {
        "QLinearConv": (3, 8), "QLinearMatMul": (0, 3), "ConvInteger": (1,),
        "MatMulInteger": (0, 1), "DequantizeLinear": (0,), "QGemm": (3, 6), "Conv": (1, 2),
        "MatMul": (0, 1), "Gemm": (0, 1, 2), "DynamicQuantizeMatMul": (1,),
        "MatMulIntegerToFloat": (1,), "MatMulNBits": (1,), "ConvTranspose": (1, 2),
    }.items()
}  # fmt: skip
_NARROW = frozenset(("int8", "uint8", "int4", "uint4", "int2", "uint2", "int16", "uint16"))


def is_weight(kind: str, place: int, dtype: str, elements: int, fill: float | None) -> bool:
    """True when a constant read by an operator at a place is a learned weight.

    Args:
        kind: the operator's type.
        place: which input of the operator the constant is.
        dtype: the constant's element type.
        elements: how many elements it has.
        fill: the value of every element where the constant is generated, else None.
    """
    if not is_floating(dtype):
        if kind == "Gather":  # a quantised embedding; wider integers are shape arithmetic
            return place == 0 and dtype in _NARROW
        return elements > 1 and place in _QUANTISED.get(kind, ())
    if kind in _NO_WEIGHTS or place in _SETTINGS.get(kind, ()):
        return False
    if kind in _ARITHMETIC:
        return elements > 1 and fill not in (0.0, 1.0)
    return True
