"""What decides how long a kernel takes, read from its workload: work, traffic, shape.

All of it is counted from the description alone, so that a workload that no machine has run
can be asked about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.profiler.kernels import Workload

_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2,
          "int16": 2, "int8": 1, "uint8": 1, "bool": 1}  # fmt: skip
_CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv", "NhwcConv", "ConvTranspose")
_PRODUCTS = ("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "MatMulInteger", "QLinearMatMul",
             "TransposeMatMul")  # fmt: skip
# Vector lengths that kernels are written for: channels that do not fill them are wasted.
_LANES = 16

NAMES = (
    "log_macs", "log_padded_macs", "log_bytes_in", "log_bytes_constant", "log_bytes_out",
    "log_intensity", "log_elements_out", "log_channels_in", "log_channels_out",
    "log_group", "log_window", "log_stride", "log_places", "lanes_filled", "operators", "inputs",
)  # fmt: skip
"""Columns of the feature matrix; logarithms are natural, of 1 + the count."""


@dataclass(frozen=True, slots=True)
class KernelShape:
    """One workload's counts.

    Attributes:
        family: kernels that behave alike: ``Conv pointwise``, ``Gemm``, ``Add`` …
        macs: multiply-accumulates; 0 for what only moves or compares.
        padded_macs: the same with output channels filled up to whole vectors.
        bytes_in, bytes_constant, bytes_out: of activations read, weights read, and results.
        values: the row of features, in the order of ``NAMES``.
    """

    family: str
    macs: float
    padded_macs: float
    bytes_in: float
    bytes_constant: float
    bytes_out: float
    values: tuple[float, ...]

    @property
    def bytes(self) -> float:
        """All bytes that cross the kernel's border."""
        return self.bytes_in + self.bytes_constant + self.bytes_out


def kernel_shape(workload: Workload | Mapping[str, Any]) -> KernelShape | None:
    """The counts of a workload; None where a shape in it is unknown."""
    found = workload.description if isinstance(workload, Workload) else workload
    tensors = (*found["inputs"], *found["outputs"])
    if any(t["shape"] is None or None in t["shape"] for t in tensors):
        return None
    main = _main(found["op_types"])
    op, attributes = found["op_types"][main], found["attributes"][main]
    moving = [t for t in found["inputs"] if not t["constant"]]
    constant = [t for t in found["inputs"] if t["constant"]]
    out = list(found["outputs"][0]["shape"]) if found["outputs"] else []
    elements = _elements(out)
    c_in, c_out = _channels(moving[0]["shape"] if moving else out), _channels(out)
    group, window, depth = 1.0, 1.0, 0.0
    if op in _CONVOLUTIONS:
        weight = next(
            (t["shape"] for t in found["inputs"][1:] if len(t["shape"]) == len(out)), None
        )
        group = float(attributes.get("group", 1))
        window = _elements(attributes.get("kernel_shape") or (weight or (1, 1))[2:])
        depth = c_in / group * window
    elif op in _PRODUCTS and moving:
        side = moving[0]["shape"]
        depth = float(side[-2 if attributes.get("transA") else -1]) if len(side) > 1 else side[-1]
    elif "kernel_shape" in attributes:
        window = _elements(attributes["kernel_shape"])
    macs = elements * depth
    filled = c_out / (math.ceil(c_out / _LANES) * _LANES) if c_out else 1.0
    sizes = [sum(map(_nbytes, part)) for part in (moving, constant, found["outputs"])]
    padded = macs / filled if filled else macs
    stride = _elements(attributes.get("strides") or (1,))
    values = (
        *(math.log1p(v) for v in (macs, padded, *sizes)),
        math.log1p(macs / max(1.0, sum(sizes))),
        *(math.log1p(v) for v in (elements, c_in, c_out, group, window, stride)),
        math.log1p(elements / max(1.0, c_out)),
        filled, float(len(found["op_types"])), float(len(moving)),
    )  # fmt: skip
    family = _family(op, found["op_types"], group, c_in, window)
    return KernelShape(family, macs, padded, sizes[0], sizes[1], sizes[2], values)


def matrix(shapes: Sequence[KernelShape]) -> NDArray[np.float64]:
    """Rows of features, shape (n, len(NAMES))."""
    return np.array([shape.values for shape in shapes], dtype=np.float64).reshape(-1, len(NAMES))


def _main(op_types: Sequence[str]) -> int:
    """Place of the operator that does the work; the first where all are alike."""
    for heavy in (_CONVOLUTIONS, _PRODUCTS):
        for index, op in enumerate(op_types):
            if op in heavy:
                return index
    return 0


def _family(op: str, op_types: Sequence[str], group: float, c_in: float, window: float) -> str:
    if op in _CONVOLUTIONS:
        if group > 1:
            kind = "depthwise" if group >= c_in else "grouped"
        else:
            kind = "pointwise" if window == 1 else "dense"
        return f"{op} {kind}"
    return op


def _channels(shape: Sequence[int]) -> float:
    return float(shape[1] if len(shape) > 2 else shape[-1] if shape else 1)


def _elements(shape: Sequence[int]) -> float:
    return float(math.prod(shape)) if shape else 1.0


def _nbytes(tensor: Mapping[str, Any]) -> float:
    return _elements(tensor["shape"]) * _BYTES.get(tensor["dtype"] or "float32", 4)
