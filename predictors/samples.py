"""Checks of what regressors are fitted on: one clear line, and what would be enough."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats, Space


class Estimator:
    """scikit-learn's manners without importing it: parameters are constructor arguments."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments by name."""
        names = [n for n in inspect.signature(type(self).__init__).parameters if n != "self"]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Changes constructor arguments.

        Raises:
            UsageError: there is no such argument.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise UsageError(f"{type(self).__name__} has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def _fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise UsageError(f"this {type(self).__name__} is not fitted: call fit first")


def check_costs(y: Any, n: int, least: int, what: str) -> Floats:
    """``y`` as n positive finite numbers.

    Raises:
        UsageError: wrong length, too few, or a value that is NaN, infinite or not positive.
    """
    try:
        costs = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what}: costs must be numbers in SI units (s, J)") from None
    if costs.shape != (n,):
        raise UsageError(f"{what}: {n} architectures need {n} costs, not shape {costs.shape}")
    if n < least:
        raise UsageError(f"{what}: {n} samples are too few: measure at least {least}")
    bad = np.flatnonzero(~(np.isfinite(costs) & (costs > 0)))
    if len(bad):
        raise UsageError(
            f"{what}: cost {costs[bad[0]]} (number {bad[0]}, {len(bad)} such) is no positive "
            "finite number: leave the row out or measure it again"
        )
    return costs


def check_samples(
    space: Space, codes: Any, y: Any, least: int, what: str = "fit"
) -> tuple[Codes, Floats]:
    """Codes and costs, checked together.

    Raises:
        UsageError: as :func:`check_costs`; or codes that the space does not have, an
            architecture given twice, or architectures whose input reaches no output.
    """
    known = space.check(codes)
    costs = check_costs(y, len(known), least, what)
    _, first, count = np.unique(known, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        row = int(first[np.argmax(count > 1)])
        raise UsageError(
            f"{what}: architecture {space.decode(known[row : row + 1])[0]} is given "
            f"{int(count.max())} times: pass each once, with the mean of its measurements"
        )
    alive = int(space.connected(known).sum())
    if alive < least:
        raise UsageError(
            f"{what}: only {alive} of {len(known)} architectures connect input and output: "
            f"measure at least {least} that do"
        )
    return known, costs


def merged(
    space: Space, codes: Codes, y: Floats, more_codes: Any, more_y: Any
) -> tuple[Codes, Floats]:
    """Samples with further ones that are not yet among them."""
    known = space.check(more_codes)
    costs = check_costs(more_y, len(known), 1, "learn")
    seen = set(map(tuple, codes.tolist()))
    new = [i for i, code in enumerate(known.tolist()) if tuple(code) not in seen]
    return np.concatenate([codes, known[new]]), np.concatenate([y, costs[new]])
