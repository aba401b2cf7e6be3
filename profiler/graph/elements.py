"""Element types: ONNX numbers, our names for them, and how many bits one element takes."""

from __future__ import annotations

from onnx import TensorProto

_RENAMED = {"FLOAT": "float32", "DOUBLE": "float64", "UNDEFINED": ""}

NAMES: dict[int, str] = {
    number: _RENAMED.get(name, name.lower()) for name, number in TensorProto.DataType.items()
}
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items() if name}

_BITS = {
    "float32": 32, "float64": 64, "float16": 16, "bfloat16": 16,
    "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64,
    "bool": 8, "complex64": 64, "complex128": 128,
    "int4": 4, "uint4": 4, "int2": 2, "uint2": 2,
}  # fmt: skip


def bits(dtype: str | None) -> int | None:
    """Bits of one element as stored in a model file; None for strings and unknown types."""
    if dtype is None:
        return None
    if dtype in _BITS:
        return _BITS[dtype]
    if dtype.startswith("float8"):
        return 8
    if dtype.startswith("float6"):
        return 6
    if dtype.startswith("float4"):
        return 4
    return None


def is_floating(dtype: str | None) -> bool:
    """True for real and complex floating types of any width."""
    return dtype is not None and (dtype.startswith(("float", "bfloat", "complex")))


def nbytes(dtype: str | None, elements: int | None) -> int | None:
    """Bytes of ``elements`` values, sub-byte types packed; None where either is unknown."""
    width = bits(dtype)
    if width is None or elements is None:
        return None
    return (elements * width + 7) // 8
