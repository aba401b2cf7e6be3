"""A workload: what a kernel does, free of names and weights, and its key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lwprof.errors import UsageError
from lwprof.profiler.kernels.keys import canonical_json, key_of
from lwprof.profiler.kernels.validation import check_description

if TYPE_CHECKING:
    import onnx

    from lwprof.profiler.kernels.values import Call

Topology = Literal["parallel", "chain"]


@dataclass(frozen=True, slots=True)
class Workload:
    """The canonical description of a kernel; equal work has equal keys in any model.

    Attributes:
        key: ``w1:<sha256 of canonical>``.
        canonical: the description as canonical JSON.
    """

    key: str
    canonical: str = field(repr=False, compare=False)

    @classmethod
    def from_calls(cls, calls: Sequence[Call]) -> Workload:
        """The workload of a kernel that runs ``calls`` one after the other."""
        from lwprof.profiler.kernels.description import describe

        text = canonical_json(describe(calls))
        return cls(key_of(text), text)

    @classmethod
    def from_description(cls, description: Mapping[str, Any], key: str | None = None) -> Workload:
        """The workload that a description, as stored or sent, stands for.

        Args:
            description: what :attr:`description` gave; untrusted.
            key: the key it came with; verified.

        Raises:
            UsageError: the description is malformed or does not have that key.
        """
        check_description(description)
        text = canonical_json(dict(description))
        workload = cls(key_of(text), text)
        if key is not None and key != workload.key:
            raise UsageError(
                f"workload description does not have the key it came with ({key[:16]}…, "
                f"computed {workload.key[:16]}…): the data was altered or cut, import it again"
            )
        return workload

    @property
    def description(self) -> dict[str, Any]:
        """A fresh copy of the description; its fields are those of :func:`describe`."""
        found: dict[str, Any] = json.loads(self.canonical)
        return found

    @property
    def op_types(self) -> tuple[str, ...]:
        """The operator types in the order in which they run."""
        return tuple(self.description["op_types"])

    @property
    def chainable(self) -> bool:
        """True if the output can be the kernel's own input, so that copies can form a chain."""
        from lwprof.profiler.kernels.suitability import can_chain

        return can_chain(self.description)

    def to_model(
        self,
        copies: int = 1,
        seed: int = 0,
        topology: Topology = "parallel",
        *,
        sink: bool = False,
    ) -> onnx.ModelProto:
        """A model of nothing but this kernel, with random weights.

        The kernel is written so that a runtime fuses it again into the same kernel.

        Args:
            copies: independent copies, each with its own weights.
            seed: decides the weights; equal arguments give equal models.
            topology: ``parallel`` gives every copy the same inputs (copies without
                weights get their own, since a runtime would merge them); ``chain``
                feeds each copy with the one before, which needs an output of the
                first input's shape and type.
            sink: end each copy of a parallel model in one element per channel, so that
                the copies' outputs are not carried out of the runtime. Chains end in
                one output anyway.

        Returns:
            IR version 8, opset 17 where the operators allow it.

        Raises:
            ModelError: the description lacks shapes, or cannot be chained.
            UsageError: fewer than one copy.
        """
        from lwprof.profiler.kernels.cutting import cut_out

        return cut_out(self.description, copies, seed, topology, sink)

    def __str__(self) -> str:
        found = self.description
        shapes = [
            "x".join("?" if e is None else str(e) for e in value["shape"])
            if value["shape"] is not None
            else "?"
            for value in (*found["inputs"][:1], *found["outputs"][:1])
        ]
        return f"{'+'.join(found['op_types'])} {' → '.join(shapes)} {found['dtype'] or ''}".strip()


def workload(
    op: str | Sequence[str],
    inputs: Sequence[Sequence[int]],
    attributes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    dtype: str | Sequence[str] = "float32",
    constant: Sequence[bool] | Mapping[int, Any] | None = None,
    *,
    opset: int | None = None,
) -> Workload:
    """The workload of an operator, or of a chain of operators, on inputs of given shapes.

    ``workload("Conv", inputs=[(1, 64, 56, 56), (128, 64, 3, 3)], attributes={"pads":
    [1, 1, 1, 1]})`` has the key that the same convolution has in any model. A bias does
    not count, so it may be given or left out.

    Args:
        op: an operator type, with its domain in front unless it is ONNX's own; or
            several, each working on the result of the one before (``["Conv", "Relu"]``;
            further inputs, as the other side of an ``Add``, are taken in order).
        inputs: shapes in the order of the operator's inputs, ``None`` for one left out.
        attributes: of the operator; for several, a list of one mapping each.
        dtype: element type of the inputs, or one per input; integer parameters (as the
            shape of a Reshape) are int64 by themselves.
        constant: which inputs are weights; for ``{index: values}``, with their elements.
            By default what the operator's nature says: weights, scales, parameters.
        opset: version of the operators, the newest where it matters not.

    Raises:
        UsageError: the operator is unknown or the shapes do not fit it.
    """
    from lwprof.profiler.kernels.constructing import calls_from_shapes

    calls = calls_from_shapes(op, inputs, attributes, dtype, constant, opset)
    return Workload.from_calls(calls)
