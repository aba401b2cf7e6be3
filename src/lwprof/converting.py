"""``--precision``: a model brought to another precision by the transforms that audits use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.errors import ModelError

PRECISIONS = ("float32", "float16", "int8")


def in_precision(
    model: Any,
    precision: str | None,
    *,
    batch: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Any:
    """A model in the precision asked for; the model itself where it has that already.

    float16 keeps inputs and outputs as they are; int8 is ONNX Runtime's static quantiser, one
    scale per tensor, with ranges from seeded random data: the time is right, the accuracy is
    not, so a model to be shipped is quantised with calibration data first.

    Args:
        model: what ``lwprof.measure`` takes.
        precision: float32, float16, int8, or None for as in the file.

    Raises:
        ModelError: it cannot be read or converted, or it would have to gain precision.
    """
    if precision not in PRECISIONS:  # None, or a context's "as_in_file"
        return model
    from lwprof.profiler.graph import read

    graph = read(model, batch=batch, input_shapes=input_shapes or None)
    kinds = {tensor.dtype for tensor in graph.tensors.values()}
    integers, half = bool(kinds & {"int8", "uint8"}), "float16" in kinds
    has = "int8" if integers else "float16" if half else "float32"
    if has == precision:
        return model
    if has != "float32" or precision == "float32":
        raise ModelError(
            f"{graph.name} is a {has} model and cannot be made {precision}: give the float32 file"
        )
    from lwprof.compression.quantisation.precision import FLOAT16, INT8_STATIC

    done = (FLOAT16 if precision == "float16" else INT8_STATIC).apply(graph)
    if not done.applied:
        raise ModelError(f"{graph.name} cannot be made {precision}: {done.reason}")
    done.model.graph.name = graph.name
    return done.model
