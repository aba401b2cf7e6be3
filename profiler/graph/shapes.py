"""Concrete input shapes: what the caller asked for, what the file says, and safe defaults."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lwprof.errors import ModelError

_BATCH = re.compile(
    r"(?:.*[_.: ])?(?:n|b|bs|batch|batches|batch_?size|nbatch|num_?batch)", re.IGNORECASE
)
_MAX_EXTENT = 2**31 - 1


def fix_inputs(
    graph: Any,
    weights: Collection[str],
    input_shapes: Mapping[str, Sequence[int]] | None,
    batch: int | None,
) -> list[str]:
    """Writes a concrete shape into every tensor input of ``graph``.

    A shape given for an input wins over the file's. Symbols bound by a given shape are
    bound everywhere. A dimension that stays open becomes ``batch`` (default 1) when it
    comes first or is named like one.

    Args:
        graph: changed in place.
        weights: graph inputs that stand for weights and keep their shape.
        input_shapes: shapes that win over the file's, by input name.
        batch: the batch asked for; None leaves a fixed one alone.

    Returns:
        one note per default that was chosen.

    Raises:
        ModelError: no such input, wrong rank, or a dimension nobody knows.
    """
    given = dict(input_shapes or {})
    inputs = [value for value in graph.input if value.name not in weights]
    _check_given(inputs, given)
    if batch is not None and not 1 <= batch <= _MAX_EXTENT:
        raise ModelError(f"batch {batch} is not possible: give 1 or more")
    bound = _bind_symbols(inputs, given)
    notes: list[str] = []
    changed = False
    for value in inputs:
        tensor = _tensor_type(value.type)
        if tensor is None:
            continue
        shape = given.get(value.name)
        if shape is None:
            shape = _resolve(value.name, tensor, bound, batch, notes)
        changed |= _write(tensor, shape)
    if batch is not None:
        changed |= _rebatch(inputs, given, batch)
    if changed:
        _forget_derived(graph)
    return notes


def _check_given(values: Sequence[Any], given: Mapping[str, Sequence[int]]) -> None:
    inputs = {value.name: _tensor_type(value.type) for value in values}
    for name, shape in given.items():
        if name not in inputs:
            known = ", ".join(repr(n) for n in list(inputs)[:8]) or "none"
            raise ModelError(f"the model has no input {name!r}: its inputs are {known}")
        tensor = inputs[name]
        if tensor is None:
            raise ModelError(f"input {name!r} is not a tensor: it takes no shape")
        if any(not 0 <= extent <= _MAX_EXTENT for extent in shape):
            raise ModelError(f"input {name!r} cannot have the shape {list(shape)}")
        if tensor.HasField("shape") and len(tensor.shape.dim) != len(shape):
            raise ModelError(
                f"input {name!r} has {len(tensor.shape.dim)} dimensions, "
                f"but the shape given has {len(shape)}: {list(shape)}"
            )


def _bind_symbols(inputs: Sequence[Any], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    bound: dict[str, int] = {}
    for value in inputs:
        tensor = _tensor_type(value.type)
        if tensor is None or value.name not in given:
            continue
        for dim, extent in zip(tensor.shape.dim, given[value.name], strict=False):
            if not dim.dim_param:
                continue
            if bound.setdefault(dim.dim_param, extent) != extent:
                raise ModelError(
                    f"the shapes given contradict each other: {dim.dim_param!r} would be "
                    f"{bound[dim.dim_param]} and, in input {value.name!r}, {extent}"
                )
    return bound


def _resolve(
    name: str, tensor: Any, bound: dict[str, int], batch: int | None, notes: list[str]
) -> list[int]:
    if not tensor.HasField("shape"):
        raise ModelError(
            f"input {name!r} has no shape in the file: give it with --input-shape {name}=1,3,224,224"
        )
    shape: list[int] = []
    for place, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
            continue
        symbol = dim.dim_param
        if symbol in bound:
            shape.append(bound[symbol])
        elif place == 0 or _BATCH.fullmatch(symbol):
            shape.append(1 if batch is None else batch)
            if symbol:
                bound[symbol] = shape[-1]
            if batch is None:
                label = repr(symbol) if symbol else "unnamed"
                notes.append(f"input {name!r}: dimension {place} ({label}) set to 1")
        else:
            raise ModelError(_ask(name, tensor, place, symbol))
    return shape


def _ask(name: str, tensor: Any, place: int, symbol: str) -> str:
    example = ",".join(
        str(d.dim_value)
        if d.HasField("dim_value") and d.dim_value > 0
        else ("1" if i == 0 else "?")
        for i, d in enumerate(tensor.shape.dim)
    )
    label = f" ({symbol!r})" if symbol else ""
    return (
        f"input {name!r} leaves dimension {place}{label} open: "
        f"give the whole shape with --input-shape {name}={example}"
    )


def _rebatch(inputs: Sequence[Any], given: Mapping[str, Sequence[int]], batch: int) -> bool:
    """Changes a batch that the file fixes, in all inputs that share it."""
    tensors = [
        tensor
        for value in inputs
        if value.name not in given
        and (tensor := _tensor_type(value.type)) is not None
        and len(tensor.shape.dim) >= 2
    ]
    if not tensors:
        return False
    old = tensors[0].shape.dim[0].dim_value
    changed = False
    for tensor in tensors:
        if tensor.shape.dim[0].dim_value == old != batch:
            tensor.shape.dim[0].dim_value = batch
            changed = True
    return changed


def _write(tensor: Any, shape: Sequence[int]) -> bool:
    old = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if tensor.HasField("shape") and old == list(shape):
        return False
    tensor.ClearField("shape")
    tensor.shape.SetInParent()
    for extent in shape:
        tensor.shape.dim.add().dim_value = extent
    return True


def _forget_derived(graph: Any) -> None:
    """Shapes written for the old inputs would contradict the new ones."""
    del graph.value_info[:]
    for value in graph.output:
        tensor = _tensor_type(value.type)
        if tensor is not None:
            tensor.ClearField("shape")


def _tensor_type(kind: Any) -> Any:
    """The tensor type inside a type, looking through optionals; None for other types."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return kind.tensor_type
    if which == "sparse_tensor_type":
        return kind.sparse_tensor_type
    if which == "optional_type":
        return _tensor_type(kind.optional_type.elem_type)
    return None
