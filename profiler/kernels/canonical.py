"""One call in canonical form: equal work gives equal calls, whichever way it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels import arithmetic, movement, spatial
from lwprof.profiler.kernels.arithmetic import VALUE_FREE
from lwprof.profiler.kernels.attributes import cleaned
from lwprof.profiler.kernels.schemas import first_opset, same_meaning
from lwprof.profiler.kernels.values import REFERENCE_OPSET, Call, Value, split_type

_RULES: dict[str, Callable[[Call, dict[str, Any]], tuple[Call, dict[str, Any]]]] = {
    **spatial.RULES,
    **movement.RULES,
    **arithmetic.RULES,
}
_MAX_VALUES = 16


def canonical(call: Call) -> Call:
    """``call`` with normalised attributes, without inputs that do not count.

    The attributes of the result are JSON values. Its ``opset`` is the reference opset
    unless the operator meant something else in the opset it came from.
    """
    attributes = cleaned(call)
    rule = _RULES.get(call.op)
    opset = _meaning(call) if rule is None else REFERENCE_OPSET
    if any(isinstance(value, dict) and "body" in value for value in attributes.values()):
        opset = call.opset  # what is in a body is kept as written
    if rule is not None:
        call, attributes = rule(call, attributes)
    inputs = [_without_data(value, call.op) for value in call.inputs]
    while inputs and inputs[-1] is None:
        inputs.pop()
    outputs = list(call.outputs)
    while len(outputs) > 1 and outputs[-1] is None:
        outputs.pop()
    return Call(call.op, attributes, tuple(inputs), tuple(outputs), opset)


def _meaning(call: Call) -> int:
    """The opset whose schema says what this call means: the reference one if it agrees."""
    if split_type(call.op)[0]:
        return REFERENCE_OPSET
    reference = first_opset(call.op)
    return reference if same_meaning(call.op, call.opset, reference) else call.opset


def _without_data(value: Value | None, op: str) -> Value | None:
    """Drops elements that cannot change the work: only few integers and flags may."""
    if value is None or value.data is None:
        return value
    kept = (
        value.constant
        and value.dtype in ("int32", "int64", "bool")
        and value.data.size <= _MAX_VALUES
        and op not in VALUE_FREE
    )
    return value if kept else replace(value, data=None)
