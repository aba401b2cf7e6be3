"""Kernels as the arrays that a regressor fits and answers from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.predictors.kernel_features import PLAIN, KernelFacts, matrix
from lwprof.predictors.kernel_physics import prior, rates, work
from lwprof.predictors.space import Floats

LEAST = 8
POOLED = "*"


@dataclass(frozen=True, slots=True)
class KernelArrays:
    """Kernels, one a row.

    Attributes:
        features: (n, p) for the smooth model.
        plain: (n, q) for trees.
        marks: (n, operators + 1) 1 where a kernel holds an operator; the last counts those that
            no sample held, among the spreads alone.
        amounts: (n, 4 or 5) of :func:`lwprof.predictors.kernel_physics.work`.
        base: (n,) log latency where it is known, else 0.
        families, kinds: (n,) names.
    """

    features: Floats
    plain: Floats
    marks: Floats
    amounts: Floats
    base: Floats
    families: Any
    kinds: Any

    def physics(self, found: dict[str, Floats], rows: Any, family: str, least: float) -> Floats:
        """Log of what rates say of rows; an operator's own before its family's."""
        amounts, kinds = self.amounts[rows], self.kinds[rows]
        costs = prior(amounts, found[family], least)
        if family != POOLED:
            for kind in set(kinds) & set(found):
                costs[kinds == kind] = prior(amounts[kinds == kind], found[kind], least)
        return np.asarray(np.log(costs), dtype=np.float64)


def arrays(
    known: Sequence[KernelFacts], operators: Sequence[str], seconds: Floats | None = None
) -> KernelArrays:
    """The arrays of kernels; ``seconds`` (n,) are their measured latencies, where they count."""
    features, marks = matrix(known), np.zeros((len(known), len(operators) + 1))
    place = {op: i for i, op in enumerate(operators)}
    for row, f in zip(marks, known, strict=True):
        for op in operators_of(f):
            row[place.get(op, len(place))] = 1.0
    plain, base = np.concatenate([features[:, PLAIN], marks], axis=1), np.zeros(len(known))
    if seconds is not None:
        base = np.log(seconds)
        plain = np.concatenate([plain, base[:, None]], axis=1)
        # As wide as eight columns, since the time says more of the energy than any shape does.
        features = np.concatenate([features, np.repeat(base[:, None], 8, axis=1)], axis=1)
    return KernelArrays(
        features, plain, marks, work(known, seconds), base,
        np.array([f.family for f in known], dtype=object),
        np.array([f.kind for f in known], dtype=object),
    )  # fmt: skip


def all_rates(seen: KernelArrays, families: Sequence[str], costs: Floats) -> dict[str, Floats]:
    """Rates by family, drawn towards those of all; by operator without MACs, towards its family's.

    An operator that computes no products has a speed of its own (a power costs a hundred times a
    copy), where products all run at about what the machine's arithmetic allows.
    """
    found = {POOLED: rates(seen.amounts, costs)}
    for family in families:
        rows = seen.families == family
        found[family] = rates(seen.amounts[rows], costs[rows], found[POOLED])
        for kind in set(seen.kinds[rows & (seen.amounts[:, 1] == 0)]):
            own = rows & (seen.kinds == kind)
            if own.sum() >= LEAST:
                found[str(kind)] = rates(seen.amounts[own], costs[own], found[family])
    return found


def operators_of(known: KernelFacts) -> list[str]:
    """The operator types that a kernel computes."""
    return known.kind.split(":")[0].split("+")
