"""The description of a workload: calls on nameless values, as canonical JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lwprof.profiler.kernels.arithmetic import COMMUTATIVE
from lwprof.profiler.kernels.canonical import canonical
from lwprof.profiler.kernels.values import REFERENCE_OPSET, Call, Value


def describe(calls: Sequence[Call]) -> dict[str, Any]:
    """The description of a kernel that runs ``calls`` one after the other.

    Returns:
        ``op_types`` and ``attributes``, one entry per operator; ``inputs`` (``dtype``,
        ``shape``, ``constant``, and ``values`` where a few integers decide the work);
        ``outputs``; ``edges``, one list per operator that says where each of its inputs
        comes from: ``"i2"`` is the kernel's input 2, ``"0.1"`` output 1 of operator 0, ""
        an input that is left out; ``results``, which operator makes each output;
        ``dtype``, the element type worked on; ``opset`` where an older or newer one than
        the reference is meant.
    """
    forms = [canonical(call) for call in calls]
    made = {
        id(value): f"{i}.{j}"
        for i, form in enumerate(forms)
        for j, value in enumerate(form.outputs)
        if value is not None
    }
    inputs: list[Value] = []
    places: dict[int, str] = {}
    edges = []
    for form in forms:
        values = list(form.inputs)
        if form.op in COMMUTATIVE:
            values.sort(key=lambda value: _order(value, made))
        edges.append([_reference(value, made, places, inputs) for value in values])
    if inputs and all(value.constant for value in inputs):
        # Work on constants that is left to run is work like any other.
        inputs[0] = replace(inputs[0], constant=False, data=None)
    used = {reference for edge in edges for reference in edge}
    results = [
        (reference, value)
        for i, form in enumerate(forms)
        for j, value in enumerate(form.outputs)
        if value is not None and (reference := f"{i}.{j}") not in used
    ]
    found: dict[str, Any] = {
        "op_types": [form.op for form in forms],
        "attributes": [dict(form.attributes) for form in forms],
        "inputs": [_input(value) for value in inputs],
        "outputs": [_output(value) for _, value in results],
        "edges": edges,
        "results": [reference for reference, _ in results],
        "dtype": _main_dtype(inputs, [value for _, value in results]),
    }
    opset = max((form.opset for form in forms if form.opset != REFERENCE_OPSET), default=None)
    if opset is not None:
        found["opset"] = opset
    return found


def _order(value: Value | None, made: dict[int, str]) -> tuple[Any, ...]:
    """Inner values first, then activations before constants, then the larger first."""
    if value is None:
        return (2,)
    if id(value) in made:
        return (0, made[id(value)])
    shape = [-1 if extent is None else extent for extent in value.shape or ()]
    return (1, value.constant, -(value.elements or 0), shape, value.dtype or "")


def _reference(
    value: Value | None, made: dict[int, str], places: dict[int, str], inputs: list[Value]
) -> str:
    if value is None:
        return ""
    if id(value) in made:
        return made[id(value)]
    # Whether two uses share one constant is an accident of the file, so each counts anew.
    if value.constant or id(value) not in places:
        places[id(value)] = f"i{len(inputs)}"
        inputs.append(value)
    return places[id(value)]


def _input(value: Value) -> dict[str, Any]:
    found = {**_output(value), "constant": value.constant}
    if value.data is not None:
        found["values"] = [int(element) for element in value.data.reshape(-1)]
    return found


def _output(value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dtype": value.dtype,
        "shape": None if value.shape is None else list(value.shape),
    }
    if value.kind != "tensor":
        found["kind"] = value.kind
    return found


def _main_dtype(inputs: Sequence[Value], outputs: Sequence[Value]) -> str | None:
    for value in (*(v for v in inputs if not v.constant), *outputs, *inputs):
        if value.dtype is not None:
            return value.dtype
    return None
