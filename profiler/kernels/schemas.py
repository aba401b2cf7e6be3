"""Operator schemas: which version means what, and what a default is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import onnx

from lwprof.profiler.kernels.values import REFERENCE_OPSET, split_type


@lru_cache(maxsize=4096)
def schema_of(op: str, opset: int) -> Any:
    """The ``OpSchema`` of ``op`` at ``opset``; None for operators that ONNX does not define.

    Args:
        op: type with its domain in front, as in :class:`~lwprof.profiler.kernels.values.Call`.
        opset: version of the operator's own domain.
    """
    domain, name = split_type(op)
    try:
        return onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return None


@lru_cache(maxsize=4096)
def defaults_of(op: str, opset: int) -> dict[str, Any]:
    """Attribute name → default, for the attributes that have one."""
    schema = schema_of(op, opset)
    if schema is None:
        return {}
    found: dict[str, Any] = {}
    for name, attribute in schema.attributes.items():
        default = attribute.default_value
        if default.type:
            value = onnx.helper.get_attribute_value(default)
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


@lru_cache(maxsize=4096)
def first_opset(op: str) -> int:
    """The reference opset, or the first later one that has ``op``; the reference if none has."""
    return next(
        (version for version in _from_reference() if schema_of(op, version) is not None),
        REFERENCE_OPSET,
    )


@lru_cache(maxsize=4096)
def lowest_opset(
    op: str,
    inputs: tuple[str | None, ...],
    outputs: tuple[str | None, ...],
    attributes: frozenset[str],
) -> int:
    """The lowest opset, from the reference on, in which ``op`` can be written like this.

    Args:
        op: an operator type.
        inputs: element types by position, None where unknown or left out.
        outputs: likewise.
        attributes: names that must be known.
    """
    versions = _from_reference() if not split_type(op)[0] else range(_FOREIGN_FROM, 11)
    for version in versions:
        schema = schema_of(op, version)
        if (
            schema is not None
            and attributes <= set(schema.attributes)
            and len(inputs) <= schema.max_input
            and _accepts(schema.inputs, inputs)
            and _accepts(schema.outputs, outputs)
        ):
            return version
    return _FOREIGN_FROM if split_type(op)[0] else first_opset(op)


# ai.onnx.ml has versions of its own; this one is as old as the reference opset.
_FOREIGN_FROM = 3


def same_meaning(op: str, opset: int, reference: int) -> bool:
    """True if ``op`` means the same in both opsets, as far as schemas can tell."""
    ours, theirs = schema_of(op, opset), schema_of(op, reference)
    if ours is None or theirs is None or ours.since_version == theirs.since_version:
        return True
    return _signature(ours) == _signature(theirs) and defaults_of(op, opset) == defaults_of(
        op, reference
    )


def _signature(schema: Any) -> tuple[Any, ...]:
    return (
        sorted(schema.attributes),
        [parameter.name for parameter in schema.inputs],
        [parameter.name for parameter in schema.outputs],
    )


def _accepts(parameters: Any, dtypes: tuple[str | None, ...]) -> bool:
    for index, dtype in enumerate(dtypes):
        if dtype is None or not parameters:
            continue
        parameter = parameters[min(index, len(parameters) - 1)]
        if f"tensor({_SPELLED.get(dtype, dtype)})" not in parameter.types:
            return False
    return True


def _from_reference() -> range:
    return range(REFERENCE_OPSET, onnx.defs.onnx_opset_version() + 1)


# Schemas spell the two common types as C does.
_SPELLED = {"float32": "float", "float64": "double"}
