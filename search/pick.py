"""The best candidate that meets a limit, verified by a few real measurements.

Choosing the best candidate that is *predicted* to meet a limit selects those whose cost is
under-predicted (the winner's curse), so a pick is not trusted before it was measured. Every
measurement refines the model: it is added to what the regressor was fitted on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Floats

Measure = Callable[[int], float]


class Regressor(Protocol):
    """What ``pick`` needs of a regressor: one of ``lwprof.predictors`` over a space."""

    def predict(self, xs: Any) -> Floats:
        """(n,) costs."""
        ...

    def predict_interval(self, xs: Any, level: float = 0.95) -> tuple[Floats, Floats]:
        """(low, high), each (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class PickResult:
    """What was picked.

    Attributes:
        index: of the candidate; None where none is known to meet the limit.
        value: its cost, measured if ``verified``, else predicted; NaN without a candidate.
        measured: cost of every candidate that was measured in this call, by index.
        verifications: how many those are.
        verified: whether the pick's own cost was measured.
        predicted: what was predicted for the pick before it was measured; NaN if it was given.
    """

    index: int | None
    value: float
    measured: Mapping[int, float] = field(default_factory=dict)
    verifications: int = 0
    verified: bool = False
    predicted: float = float("nan")


def pick(
    merit: Any, codes: Any, regressor: Regressor, *, limit: float, measure: Measure | None = None,
    verifications: int = 3, known: Mapping[int, float] | None = None, level: float = 0.95,
) -> PickResult:  # fmt: skip
    """The candidate of highest merit whose cost is at most ``limit``.

    Args:
        merit: (n,) known or predicted, higher is better; NaN is never picked.
        codes: (n, blocks) candidates.
        regressor: fitted on costs in the unit of ``limit``.
        limit: what a candidate may cost, in SI units.
        measure: index → measured cost. Without it the pick is made by the upper end of the
            regressor's interval, and not verified.
        verifications: how often ``measure`` may be called.
        known: costs measured before, by index: never measured again, and the fallback when no
            verified candidate meets the limit.
        level: of that upper end.

    Raises:
        UsageError: merits and codes do not match, or a limit that is not positive; a
            measurement that is no positive number.
    """
    worth = _merits(merit, codes)
    if not (np.isfinite(limit) and limit > 0):
        raise UsageError(f"pick: the limit must be a positive number in SI units, not {limit}")
    if verifications < 0:
        raise UsageError(f"pick: verifications must be 0 or more, not {verifications}")
    before = {int(k): float(v) for k, v in (known or {}).items()}
    if measure is None or verifications == 0:
        return _unverified(worth, codes, regressor, limit, before, level)
    return _Hunt(worth, np.asarray(codes), regressor, limit, before).run(measure, verifications)


def _merits(merit: Any, codes: Any) -> Floats:
    worth = np.asarray(merit, dtype=np.float64)
    if worth.ndim != 1 or not len(worth) or len(worth) != len(codes):
        raise UsageError(
            f"pick: {len(codes)} candidates need as many merits, not shape {worth.shape}"
        )
    return np.where(np.isnan(worth), -np.inf, worth)


def _unverified(
    worth: Floats, codes: Any, regressor: Regressor, limit: float, known: Mapping[int, float],
    level: float,
) -> PickResult:  # fmt: skip
    high = regressor.predict_interval(codes, 2 * level - 1)[1]
    for index, cost in known.items():
        high[index] = cost
    legal = np.where(high <= limit, worth, -np.inf)
    best = int(np.argmax(legal))
    if legal[best] == -np.inf:
        return PickResult(None, float("nan"))
    if best in known:
        return PickResult(best, known[best], verified=True)
    value = float(regressor.predict(np.asarray(codes)[best : best + 1])[0])
    return PickResult(best, value, predicted=value)


class _Hunt:
    """Measures the candidate with the largest expected gain over the best legal one so far."""

    def __init__(
        self, worth: Floats, codes: Any, regressor: Regressor, limit: float,
        known: dict[int, float],
    ) -> None:  # fmt: skip
        self._worth, self._codes, self._limit = worth, codes, limit
        self._regressor, self._known = regressor, known
        self._predicted = regressor.predict(codes)
        self._log_error = _spread(regressor, codes, self._predicted)
        self._measured: dict[int, float] = {}
        self._said: dict[int, float] = {}

    def run(self, measure: Measure, verifications: int) -> PickResult:
        """Measures up to ``verifications`` candidates."""
        for left in reversed(range(verifications)):
            index = self._next(left)
            if index is None:
                break
            cost = float(measure(index))
            if not (np.isfinite(cost) and cost > 0):
                raise UsageError(f"pick: measure({index}) gave {cost}, not a positive number")
            self._said[index] = float(self._predicted[index])
            self._measured[index] = self._known[index] = cost
            self._learn()
        index = self._best()
        if index is None:
            return PickResult(None, float("nan"), self._measured, len(self._measured))
        return PickResult(
            index, self._known[index], self._measured, len(self._measured), True,
            self._said.get(index, float("nan")),
        )  # fmt: skip

    def _best(self) -> int | None:
        legal = [i for i, cost in self._known.items() if cost <= self._limit]
        return max(legal, key=lambda i: self._worth[i], default=None)

    def _next(self, left: int) -> int | None:
        """The candidate with the largest probability of being legal times gain in merit.

        Merits count from the best legal candidate known; without one, from the merit that 99 %
        of the candidates reach. With runs to spare the hunt may be bold, on its last it is
        careful: probabilities are taken to a power that grows to one and beyond.
        """
        usable = np.isfinite(self._worth)
        usable[list(self._known)] = False
        if not usable.any():
            return None
        best = self._best()
        base = self._worth[best] if best is not None else np.quantile(self._worth[usable], 0.01)
        gain = np.where(usable, np.maximum(self._worth - base, 0), 0.0)
        margin = np.log(self._limit / self._predicted) / self._log_error
        chance = 1 / (1 + np.exp(-1.7 * np.clip(margin, -30, 30)))  # close to the normal
        score = gain * chance ** (1.0 if left else 1.5)
        found = int(np.argmax(score))
        return found if score[found] > 0 else None

    def _learn(self) -> None:
        """Refits with what was measured; regressors that cannot are shifted by their errors."""
        learn = getattr(self._regressor, "learn", None)
        rows = list(self._measured)
        costs = np.array([self._measured[i] for i in rows])
        if learn is not None:
            refined: Any = copy.copy(self._regressor)
            refined.learn(self._codes[rows], costs)
            self._predicted = refined.predict(self._codes)
            return
        shift = np.log(costs) - np.log([self._said[i] for i in rows])
        self._predicted = self._predicted * np.exp(shift.sum() / (len(rows) + 1))


def _spread(regressor: Regressor, codes: Any, predicted: Floats) -> Floats:
    """Standard deviation of the log cost, from the interval at 68 %."""
    low, high = regressor.predict_interval(codes, 0.68)
    spread: Floats = np.maximum(np.log(high / low) / 2, 1e-3)
    return spread
