"""Reading Relax expressions."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray


def constant(value: Any) -> NDArray[Any] | None:
    """The numbers of a constant expression, else None."""
    held: Any = getattr(value, "value", None)
    return numpy.asarray(held.numpy()) if hasattr(held, "numpy") else None


def static_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a float32 tensor expression when all of it is known, else None."""
    kind = getattr(value, "ty", None)
    extents = getattr(kind, "shape", None)
    if extents is None or str(getattr(kind, "dtype", "")) != "float32":
        return None
    try:
        return tuple(int(extent) for extent in extents)
    except (TypeError, ValueError):
        return None
