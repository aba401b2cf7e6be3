"""Checks of a description that came from outside: a store, a table, a device."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from lwprof.errors import UsageError

_FIELDS = {"op_types", "attributes", "inputs", "outputs", "edges", "results", "dtype"}
_OPTIONAL = {"opset"}
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,199}")
_DTYPE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_REFERENCE = re.compile(r"i(\d{1,4})|(\d{1,4})\.(\d{1,4})")
_KINDS = {"tensor", "sequence", "optional", "map", "sparse"}
_MAX_OPERATORS = 1000
_MAX_VALUES = 4096
_MAX_RANK = 32
_MAX_EXTENT = 2**40
_MAX_DEPTH = 12


def check_description(description: Mapping[str, Any]) -> None:
    """Raises unless ``description`` has the form that :func:`describe` gives.

    Raises:
        UsageError: names the first field that is wrong.
    """
    if not isinstance(description, Mapping):
        raise _error("it is not an object")
    missing = _FIELDS - set(description)
    unknown = set(description) - _FIELDS - _OPTIONAL
    if missing or unknown:
        raise _error(f"missing {sorted(missing)}, unknown {sorted(map(str, unknown))[:5]}")
    types = _list(description, "op_types", _MAX_OPERATORS)
    if not types or not all(isinstance(t, str) and _TYPE.fullmatch(t) for t in types):
        raise _error("op_types must be operator types")
    for name in ("attributes", "edges"):
        if len(_list(description, name, _MAX_OPERATORS)) != len(types):
            raise _error(f"{name} must have one entry per operator")
    for attributes in description["attributes"]:
        if not isinstance(attributes, Mapping):
            raise _error("attributes must be objects")
        _check_json(attributes, 0)
    for name in ("inputs", "outputs"):
        for value in _list(description, name, _MAX_VALUES):
            _check_value(value, name)
    _check_edges(description)
    dtype, opset = description["dtype"], description.get("opset")
    if dtype is not None and not (isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
        raise _error("dtype must be an element type")
    if opset is not None and not (_is_int(opset) and 1 <= opset <= 1000):
        raise _error("opset must be a version")


def _check_value(value: Any, where: str) -> None:
    if not isinstance(value, Mapping) or not {"dtype", "shape"} <= set(value):
        raise _error(f"{where} must have dtype and shape")
    allowed = {"dtype", "shape", "kind"} | ({"constant", "values"} if where == "inputs" else set())
    for name in set(value) - allowed:
        raise _error(f"{where} have an unknown field {name!r}")
    dtype, shape = value["dtype"], value["shape"]
    if dtype is not None and not (isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
        raise _error(f"{where} have a wrong dtype")
    if shape is not None:
        if not isinstance(shape, list) or len(shape) > _MAX_RANK:
            raise _error(f"{where} have a wrong shape")
        if not all(e is None or (_is_int(e) and 0 <= e <= _MAX_EXTENT) for e in shape):
            raise _error(f"{where} have an extent that is not a count")
    if where == "inputs" and not isinstance(value.get("constant"), bool):
        raise _error("inputs must say whether they are constant")
    if value.get("kind", "tensor") not in _KINDS:
        raise _error(f"{where} have an unknown kind")
    values = value.get("values")
    if values is not None and not (
        isinstance(values, list)
        and len(values) <= 64
        and all(_is_int(v) and abs(v) < 2**63 for v in values)
    ):
        raise _error("values must be few integers")


def _check_edges(description: Mapping[str, Any]) -> None:
    count = len(description["inputs"])
    made: set[str] = set()
    for index, edge in enumerate(description["edges"]):
        if not isinstance(edge, list) or len(edge) > _MAX_VALUES:
            raise _error("edges must be lists")
        for reference in edge:
            _check_reference(reference, count, index)
    results = _list(description, "results", _MAX_VALUES)
    if len(results) != len(description["outputs"]):
        raise _error("results must have one entry per output")
    for reference in results:
        _check_reference(reference, 0, len(description["edges"]))
        if reference in made or not reference:
            raise _error("results must differ")
        made.add(reference)


def _check_reference(reference: Any, inputs: int, operators: int) -> None:
    if reference == "":
        return
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        raise _error("a reference must look like 'i0' or '0.0'")
    if match[1] is not None and int(match[1]) >= inputs:
        raise _error(f"reference {reference!r} names an input that is not there")
    if match[2] is not None and int(match[2]) >= operators:
        raise _error(f"reference {reference!r} names an operator that comes later")


def _check_json(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _error("attributes are nested too deeply")
    if isinstance(value, Mapping):
        if len(value) > _MAX_VALUES:
            raise _error("an attribute is too long")
        for name, item in value.items():
            if not isinstance(name, str) or len(name) > 200:
                raise _error("an attribute has no proper name")
            _check_json(item, depth + 1)
    elif isinstance(value, list):
        if len(value) > _MAX_VALUES:
            raise _error("an attribute is too long")
        for item in value:
            _check_json(item, depth + 1)
    elif isinstance(value, str):
        if len(value) > 10_000:
            raise _error("an attribute is too long")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _error("an attribute is not a finite number")
    elif not (value is None or isinstance(value, bool) or _is_int(value)):
        raise _error("an attribute is not a JSON value")


def _list(description: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = description[name]
    if not isinstance(value, list) or len(value) > most:
        raise _error(f"{name} must be a list of at most {most}")
    return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _error(what: str) -> UsageError:
    return UsageError(f"workload description cannot be used: {what}")
