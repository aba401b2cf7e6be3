"""Folding the small operators that importers put on constants."""

from __future__ import annotations

from typing import Any

import numpy

from lwprof.profiler.tvm.expressions import constant


def fold(call: Any) -> Any | None:
    """Compute a call whose arguments are constants.

    Args:
        call: a ``relax.Call``.

    Returns:
        A Relax constant; None when an argument is not constant, or the operator is
        not one that importers put on biases and weights.
    """
    from tvm import relax

    name = str(getattr(call.op, "name", ""))
    if name not in _FOLDED:
        return None
    values = [constant(argument) for argument in call.args]
    first = values[0]
    if first is None:
        return None
    if name == "relax.reshape":
        return relax.const(first.reshape([int(extent) for extent in call.ty.shape]))
    if name == "relax.permute_dims":
        axes = call.attrs.axes
        order = None if axes is None else [int(axis) for axis in axes]
        return relax.const(numpy.ascontiguousarray(first.transpose(order)))
    second = values[1]
    return None if second is None else relax.const(first * second)


_FOLDED = frozenset({"relax.reshape", "relax.permute_dims", "relax.multiply"})
