"""Every transform that an audit tries, in the survey's order."""

from __future__ import annotations

from collections.abc import Iterable

from lwprof.compression.transform import Transform
from lwprof.errors import UsageError


def transforms(ids: Iterable[str] | None = None) -> tuple[Transform, ...]:
    """All transforms, or those named.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    known = {transform.id: transform for transform in _all()}
    if ids is None:
        return tuple(known.values())
    wanted = list(dict.fromkeys(ids))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(f"unknown transform {unknown[0]!r}: choose from {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def _all() -> tuple[Transform, ...]:
    from lwprof.compression.factorisation import matrices, responses, tensors
    from lwprof.compression.quantisation import coding, mixed, precision
    from lwprof.compression.structure import (
        batch_norm,
        merging,
        reparameterisation,
        schedules,
        substitution,
    )

    equal = (batch_norm.FOLD_BATCH_NORM, reparameterisation.REPARAMETERISE, merging.MERGE_LINEAR,
             schedules.IN_PLACE_DEPTHWISE, *schedules.PATCHES)  # fmt: skip
    bits = (precision.FLOAT16, precision.INT8_DYNAMIC, precision.INT8_DYNAMIC_CHANNELS,
            precision.INT8_STATIC, precision.INT8_STATIC_CHANNELS)  # fmt: skip
    factors = (matrices.SVD, matrices.LOW_RANK_FILTERS, responses.RESPONSE_AWARE,
               matrices.SPATIAL, matrices.FILTER_GROUP, tensors.CP, tensors.TUCKER2,
               tensors.BLOCK_TERM)  # fmt: skip
    substitutes = (
        substitution.DEPTHWISE_SEPARABLE, *substitution.GROUPS, substitution.GHOST,
        substitution.SMALL_KERNELS, substitution.POINTWISE_REDUCTION, substitution.CONCAT_TO_ADD,
    )  # fmt: skip
    codes = (
        mixed.MIXED_PRECISION,
        coding.DEEP_COMPRESSION,
        coding.BINARY,
        coding.TERNARY,
        coding.XNOR,
    )
    return (*equal, *bits, *codes, *factors, *substitutes)
