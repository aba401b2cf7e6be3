"""Where a network's numbers come from, and how they become tensors of the file."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
import onnx

from lwprof.errors import ModelError

# Smallest magnitude stored: the smallest normal float16, so that no precision holds denormals.
_SMALLEST = 2.0**-14
ONNX_TYPES = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}


class SeededWeights:
    """Normal weights from one seeded generator, stored inside the model.

    Attributes:
        constant: True where a parameter is one number repeated, expanded when the model is loaded.
        most: numbers that a model can hold.
        drawn: numbers drawn so far.
    """

    constant, most = False, 2.0**29

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.SFC64(seed))
        self.drawn = 0

    def draw(self, shape: tuple[int, ...], std: float, mean: float) -> Any:
        """A float32 array of ``shape``, normal around ``mean``."""
        self.drawn += math.prod(shape)
        if self.drawn > self.most:
            raise ModelError("a model in memory holds 2 GB: write larger ones by lwprof.zoo.save")
        array = self._generator.standard_normal(shape, dtype=np.float32)
        array *= np.float32(std)
        if mean:
            array += np.float32(mean)
        return array

    def content(self, array: Any) -> dict[str, Any]:
        """The fields of a TensorProto that hold ``array``."""
        return {"raw_data": array.tobytes()}


class StreamedWeights(SeededWeights):
    """The same weights, each written to a file of external data as soon as it is made.

    Args:
        seed: as for `SeededWeights`; the numbers are identical.
        file: takes the data.
        location: name of the file, as seen from the model's folder.
    """

    most = math.inf

    def __init__(self, seed: int, file: BinaryIO, location: str) -> None:
        super().__init__(seed)
        self._file, self._location = file, location

    def content(self, array: Any) -> dict[str, Any]:
        """Where in the file ``array`` now is."""
        offset = -(-self._file.tell() // 4096) * 4096  # pages, so that runtimes can map them
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(array).data)
        entries = {"location": self._location, "offset": offset, "length": array.nbytes}
        made = [onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in entries.items()]
        return {"data_location": onnx.TensorProto.EXTERNAL, "external_data": made}


class ConstantWeights(SeededWeights):
    """One number per tensor: for profiling only.

    No two tensors hold the same number (runtimes merge equal convolutions), and
    a convolution averages its inputs, so that activations stay finite.
    """

    constant = True

    def __init__(self) -> None:
        super().__init__(0)
        self._tensors = 0

    def draw(self, shape: tuple[int, ...], std: float, mean: float) -> Any:
        """A view of one number: costs no memory."""
        self.drawn += math.prod(shape)
        self._tensors += 1
        value = np.float32((mean + std * std / 2) * (1 + self._tensors * 2.0**-14))
        return np.broadcast_to(value, shape)


def stored(array: Any, precision: str) -> Any:
    """``array`` in the element type of ``precision``, without denormals and infinities."""
    if precision == "float32":
        return array
    tiny, sign = np.abs(array) < _SMALLEST, np.copysign(_SMALLEST, array)
    return np.where(tiny, sign, np.clip(array, -65504, 65504)).astype(np.float16)
