"""The graph as the rest of lwprof sees it: plain data, no ONNX calls needed to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of a graph.

    Attributes:
        name: the ONNX value name.
        dtype: numpy-style element type (``float32``, ``int64``, ``string``, ``bfloat16`` …);
            None where inference could not tell.
        shape: dimensions; None as a whole when even the rank is unknown, None in a
            place whose extent is unknown.
        constant: True for initialisers, Constant outputs and what folds from them.
        kind: ``tensor``, ``sequence``, ``optional``, ``map`` or ``sparse``.
    """

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None
    constant: bool = False
    kind: str = "tensor"

    @property
    def elements(self) -> int | None:
        """Number of elements, or None when any extent is unknown."""
        if self.shape is None:
            return None
        count = 1
        for extent in self.shape:
            if extent is None:
                return None
            count *= extent
        return count


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of the graph with what it costs.

    Attributes:
        name: the node's name; ``<Op>_<index>`` where the file leaves it empty (ONNX Runtime's
            own convention), with a number added where the file uses a name twice. The
            graph's ``proto`` carries the same names.
        type: operator type; ``domain`` is "" for ai.onnx.
        macs: multiply-accumulates, None when they cannot be counted.
        params: learned parameters that this operator reads, None when unknown.
        bytes_read: bytes of all inputs including constants, None when unknown.
        bytes_written: bytes of all outputs, None when unknown.
    """

    index: int
    name: str
    type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(repr=False)
    macs: int | None
    params: int | None
    bytes_read: int | None
    bytes_written: int | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A model that was read, checked, given concrete input shapes and shape-inferred.

    Attributes:
        name: the file's stem, the zoo name or the graph's own name.
        sha256: digest of the model file as it was given, so that ``sha256sum`` agrees; with
            external data, of the file's digest and the data's. The same file read with
            other input shapes has the same ``sha256`` and another ``key``.
        key: identity of what will be run: digest of ``sha256`` and the input shapes.
        proto: the ``onnx.ModelProto`` as it will be run: local functions inlined, concrete
            input shapes, initialisers no longer listed as inputs, external data inside.
            Weights that the file generates (``generated``) are still generated here;
            ``materialise(graph)`` writes them out.
        operators: top-level nodes in topological order, local functions inlined.
        tensors: every named value, by name.
        inputs: real inputs (initialisers listed as inputs are not among them).
        unknown: operator types whose cost could not be counted, sorted.
        params: learned parameters of the model (each counted once).
        size_bytes: bytes of the model file with its external data, and what its generated
            weights would take.
        peak_memory_bytes: peak activation memory by liveness in topological order
            without in-place reuse; None when a size is unknown.
        peak_memory_inplace_bytes: the same where elementwise operators overwrite a dead input.
        generated: weights, learned or statistics, that the file makes with
            ``ConstantOfShape`` instead of storing them.
        notes: what was assumed while reading (open dimensions set to 1 …), for people.
    """

    name: str
    sha256: str
    proto: Any
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    unknown: tuple[str, ...]
    macs: int | None
    params: int
    size_bytes: int
    peak_memory_bytes: int | None
    peak_memory_inplace_bytes: int | None
    key: str = ""
    generated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
