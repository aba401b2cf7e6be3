"""Where a network's numbers come from, and how they become tensors of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

# Smallest magnitude stored: the smallest normal float16, so that no precision holds denormals.
_SMALLEST = 2.0**-14
ONNX_TYPES = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}


class Weights(Protocol):
    """Draws arrays and says how they are stored."""

    constant: bool
    """True where a parameter is one number repeated, expanded when the model is loaded."""

    def draw(self, shape: tuple[int, ...], std: float, mean: float) -> Any:
        """A float32 array of ``shape``, normal around ``mean``."""

    def content(self, array: Any) -> dict[str, Any]:
        """The fields of a TensorProto that hold ``array``."""


class SeededWeights:
    """Normal weights from one seeded generator, stored inside the model."""

    constant = False

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def draw(self, shape: tuple[int, ...], std: float, mean: float) -> Any:
        array = self._generator.standard_normal(shape, dtype=np.float32)
        array *= np.float32(std)
        if mean:
            array += np.float32(mean)
        return array

    def content(self, array: Any) -> dict[str, Any]:
        return {"raw_data": array.tobytes()}


class StreamedWeights(SeededWeights):
    """The same weights, each written to a file of external data as soon as it is made.

    Args:
        seed: as for `SeededWeights`; the numbers are identical.
        path: the file of external data, beside the model.
    """

    def __init__(self, seed: int, path: Path) -> None:
        super().__init__(seed)
        self._file = path.open("wb")
        self._location = path.name

    def content(self, array: Any) -> dict[str, Any]:
        offset = -(-self._file.tell() // 4096) * 4096  # pages, so that runtimes can map them
        self._file.seek(offset)
        self._file.write(array.tobytes())
        entries = (("location", self._location), ("offset", offset), ("length", array.nbytes))
        return {
            "data_location": onnx.TensorProto.EXTERNAL,
            "external_data": [
                onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in entries
            ],
        }

    def close(self) -> None:
        """Closes the file of external data."""
        self._file.close()


class ConstantWeights:
    """One number per tensor: for profiling only.

    No two tensors hold the same number (runtimes merge equal convolutions), and
    a convolution averages its inputs, so that activations stay finite.
    """

    constant = True

    def __init__(self) -> None:
        self._drawn = 0

    def draw(self, shape: tuple[int, ...], std: float, mean: float) -> Any:
        self._drawn += 1
        value = np.float32((mean + std * std / 2) * (1 + self._drawn * 2.0**-14))
        return np.broadcast_to(value, shape)  # a view of one number: costs no memory

    def content(self, array: Any) -> dict[str, Any]:
        return {"raw_data": array.tobytes()}


def stored(array: Any, precision: str) -> Any:
    """``array`` in the element type of ``precision``, without denormals and infinities."""
    if precision == "float32":
        return array
    tiny = np.abs(array) < _SMALLEST
    return np.where(tiny, np.copysign(_SMALLEST, array), np.clip(array, -65504, 65504)).astype(
        np.float16
    )
