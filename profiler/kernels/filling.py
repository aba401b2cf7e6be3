"""Random contents for the constants of a cut-out kernel: sane, seeded, never denormal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lwprof.errors import ModelError
from lwprof.profiler.kernels.values import product, split_type

Array = np.ndarray[Any, Any]

# Below these magnitudes numbers are denormal or lose precision, and arithmetic may slow down.
_SMALLEST = {"float16": 2.0**-12, "bfloat16": 2.0**-100, "float32": 1e-30, "float64": 1e-200}

_UNSIGNED = ("uint8", "uint4", "uint2", "uint16")

# Where quantised operators keep weights; their other small integers are zero points.
_QUANTISED_WEIGHTS = {
    "QLinearConv": (3,), "QLinearMatMul": (0, 3), "QGemm": (3,), "MatMulInteger": (0, 1),
    "ConvInteger": (0, 1), "DynamicQuantizeMatMul": (1,), "MatMulIntegerToFloat": (0, 1),
    "DequantizeLinear": (0,), "QLinearAdd": (0, 3), "QLinearMul": (0, 3), "MatMulNBits": (1,),
    "QuantizeLinear": (0,),
}  # fmt: skip


def constant(
    op: str, slot: int, dtype: str, shape: Sequence[int], rng: np.random.Generator
) -> Array:
    """Elements for input ``slot`` of ``op``: an array of the given type and shape.

    Products keep the variance of what they multiply, divisors stay away from 0, scales
    and variances are positive, zero points lie in the middle of their range.

    Raises:
        ModelError: the element type cannot be made here.
    """
    name = split_type(op)[1]
    quantised = name in _QUANTISED_WEIGHTS or name.startswith("QLinear")
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        return floats(_real(name, slot, shape, rng, quantised), dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype == "string":
        return np.array(["a"] * product(shape), dtype=object).reshape(shape)
    if dtype.startswith(("int", "uint")):
        return _integer(name, slot, dtype, shape, rng, quantised)
    if dtype.startswith(("float8", "float4", "complex")):
        values = rng.uniform(0.5, 1.5, shape)
        return values.astype(_numpy_type(dtype))
    raise ModelError(f"a kernel with constants of type {dtype} cannot be cut out")


def floats(values: Array, dtype: str) -> Array:
    """``values`` in a floating type, with nothing between 0 and the type's normal numbers."""
    smallest = _SMALLEST[dtype]
    kept = np.where(np.abs(values) < smallest, np.float32(smallest), values)
    return kept.astype(_numpy_type(dtype))


def _real(
    name: str, slot: int, shape: Sequence[int], rng: np.random.Generator, quantised: bool
) -> Array:
    if quantised:
        return np.full(shape, 0.02, np.float32)
    if name == "BatchNormalization" and slot in (1, 4):
        return _near_one(shape, rng)
    if name in _FAN_IN and slot in (1, 2) and len(shape) > 1:
        fan_in = _FAN_IN[name](shape)
        return rng.standard_normal(shape, dtype=np.float32) / np.float32(math.sqrt(max(fan_in, 1)))
    if name == "BatchNormalization" or (name in _FAN_IN and slot > 1):
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)
    return _near_one(shape, rng)


_FAN_IN: dict[str, Callable[[Sequence[int]], int]] = {
    "Conv": lambda shape: product(shape[1:]),
    "ConvTranspose": lambda shape: shape[0] * product(shape[2:]),
    "DeformConv": lambda shape: product(shape[1:]),
    "Gemm": lambda shape: max(shape),
    "MatMul": lambda shape: shape[-2],
    "FusedMatMul": lambda shape: max(shape[-2:]),
    "LSTM": lambda shape: shape[-1],
    "GRU": lambda shape: shape[-1],
    "RNN": lambda shape: shape[-1],
    "Attention": lambda shape: shape[0],
}


def _near_one(shape: Sequence[int], rng: np.random.Generator) -> Array:
    values: Array = rng.random(shape, dtype=np.float32) + np.float32(0.5)
    return values


def _integer(
    name: str, slot: int, dtype: str, shape: Sequence[int], rng: np.random.Generator, zeros: bool
) -> Array:
    kind = _numpy_type(dtype)
    if zeros and slot not in _QUANTISED_WEIGHTS.get(name, ()):
        middle = {"uint8": 128, "uint16": 32768, "uint4": 8, "uint2": 2}.get(dtype, 0)
        return np.full(shape, middle).astype(kind)
    if dtype in ("int4", "uint4", "int2", "uint2"):
        return rng.integers(0, 2, shape).astype(kind)
    if dtype == "int8":
        return rng.integers(-127, 128, shape).astype(np.int8)
    if dtype == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.integers(1, 4, shape).astype(kind)


def indices(extent: int, dtype: str, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Indices that lie inside ``extent``."""
    return rng.integers(0, max(extent, 1), shape).astype(_numpy_type(dtype))


def _numpy_type(dtype: str) -> Any:
    from onnx import helper

    from lwprof.profiler.graph.elements import NUMBERS

    return helper.tensor_dtype_to_np_dtype(NUMBERS[dtype])
