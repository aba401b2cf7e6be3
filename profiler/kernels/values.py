"""What a kernel works on: values without names, and calls of operators on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]

# The opset that cut-out models use, so that old runtimes on old boards load them.
REFERENCE_OPSET = 17


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One value of a kernel; two of them are the same value only if they are one object.

    Attributes:
        dtype: element type, None where unknown.
        shape: logical extents (NCHW whatever layout the runtime uses); None as a whole
            when the rank is unknown, None in a place whose extent is unknown.
        constant: True for weights and other initialisers.
        data: the elements of a small constant, else None.
        kind: ``tensor``, ``sequence``, ``optional``, ``map`` or ``sparse``.
    """

    dtype: str | None
    shape: Shape | None
    constant: bool = False
    data: np.ndarray[Any, Any] | None = field(default=None, repr=False)
    kind: str = "tensor"

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape, when every extent is known; else None."""
        if self.shape is None:
            return None
        extents = tuple(extent for extent in self.shape if extent is not None)
        return extents if len(extents) == len(self.shape) else None

    @property
    def elements(self) -> int | None:
        """Number of elements, None when unknown."""
        shape = self.known_shape
        return None if shape is None else product(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator applied to values.

    Attributes:
        op: the type, with its domain in front unless that is ``ai.onnx``
            (``Conv``, ``com.microsoft.QuickGelu``).
        attributes: plain values; tensors and graphs as protobuf messages.
        inputs: None where an optional input is left out.
        outputs: None where an optional output is left out.
        opset: version of ``ai.onnx`` whose meaning applies.
    """

    op: str
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    opset: int = REFERENCE_OPSET

    def input(self, index: int) -> Value | None:
        """The input at ``index``, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def output(self, index: int) -> Value | None:
        """The output at ``index``, None where it is left out."""
        return self.outputs[index] if index < len(self.outputs) else None


def product(extents: Sequence[int]) -> int:
    """Product of the extents; 1 for none."""
    result = 1
    for extent in extents:
        result *= extent
    return result


def integers(value: Value | None) -> list[int] | None:
    """The elements of a small integer constant as a flat list, else None."""
    if value is None or value.data is None or value.data.dtype.kind not in "iu":
        return None
    return [int(element) for element in value.data.reshape(-1)]


def rank(value: Value | None) -> int | None:
    """Number of dimensions, None when unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def split_type(op: str) -> tuple[str, str]:
    """``("com.microsoft", "QuickGelu")`` from ``com.microsoft.QuickGelu``; "" for ai.onnx."""
    domain, _, name = op.rpartition(".")
    return domain, name


def join_type(domain: str, name: str) -> str:
    """The inverse of :func:`split_type`; ``ai.onnx`` is written as no domain."""
    return f"{domain}.{name}" if domain not in ("", "ai.onnx") else name
