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
def opset_for_types(op: str, inputs: tuple[str | None, ...]) -> int:
    """The lowest opset, from the reference on, whose ``op`` takes these element types.

    Args:
        op: an operator type.
        inputs: element types by position, None where unknown or left out.
    """
    for version in _from_reference():
        schema = schema_of(op, version)
        if schema is not None and _accepts(schema, inputs):
            return version
    return first_opset(op)


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


def _accepts(schema: Any, inputs: tuple[str | None, ...]) -> bool:
    parameters = schema.inputs
    for index, dtype in enumerate(inputs):
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
