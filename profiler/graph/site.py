"""One operator in its place: what a cost formula may ask about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.profiler.graph.model import Tensor


class Uncountable(Exception):
    """An extent that a formula needs is unknown; never leaves this package."""


@dataclass(frozen=True, slots=True)
class Site:
    """An operator with the tensors around it."""

    type: str
    domain: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def has_input(self, place: int) -> bool:
        """True when the optional input at ``place`` is present."""
        return place < len(self.inputs) and bool(self.inputs[place])

    def input(self, place: int) -> tuple[int, ...]:
        """The shape of an input.

        Raises:
            Uncountable: absent, or an extent is unknown.
        """
        if not self.has_input(place):
            raise Uncountable
        return self.shape(self.inputs[place])

    def output(self, place: int = 0) -> tuple[int, ...]:
        """The shape of an output.

        Raises:
            Uncountable: absent, or an extent is unknown.
        """
        if place >= len(self.outputs) or not self.outputs[place]:
            raise Uncountable
        return self.shape(self.outputs[place])

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value by name.

        Raises:
            Uncountable: an extent is unknown.
        """
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape is None:
            raise Uncountable
        extents = tuple(extent for extent in tensor.shape if extent is not None)
        if len(extents) != len(tensor.shape):
            raise Uncountable
        return extents
