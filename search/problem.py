"""What a strategy is given: a space, a merit, limits, and a number of evaluations.

Strategies ask a :class:`Budget` for merits; it remembers every code, so that asking again costs
nothing, and stops them when the evaluations are spent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.errors import UsageError
from lwprof.predictors.space import Codes, Floats, Space
from lwprof.search.constraints import Constraints

Merit = Callable[[Codes], Any]
Report = Callable[[int, int, float], None]

FRUITLESS = 40
"""Calls in a row that may bring nothing new before a search is taken to have converged."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A search.

    Attributes:
        space: of the codes.
        merit: codes (n, blocks) → (n,), higher is better, NaN for worthless; with an argument
            ``fidelity`` in (0, 1] where low fidelity is used.
        constraints: limits and costs.
        additive_merit: (blocks, most choices), where the merit is a sum: allows exact search.
    """

    space: Space
    merit: Merit
    constraints: Constraints
    additive_merit: Floats | None = None


class Spent(Exception):
    """The evaluations are used up; caught by ``run``, never seen by callers."""


@dataclass(slots=True)
class Trials:
    """All that was evaluated, in order.

    Attributes:
        codes: (n, blocks).
        merits: (n,), −inf where the merit was no number.
        violations: (n,), 0 where every limit holds.
    """

    codes: Codes
    merits: Floats
    violations: Floats

    @property
    def scores(self) -> Floats:
        """(n,): the merit where limits hold, else far below by the violation."""
        return scores(self.merits, self.violations)

    def best(self) -> int | None:
        """The feasible row of highest merit; None where none is feasible or has a merit."""
        legal = np.where(self.violations <= 0, self.merits, -np.inf)
        if not len(legal) or not np.isfinite(legal.max()):
            return None
        return int(np.argmax(legal))


def scores(merits: Floats, violations: Floats) -> Floats:
    """Feasible before infeasible, then by merit, infeasible ones by violation (Deb's rule)."""
    found: Floats = np.where(violations <= 0, np.maximum(merits, -1e9), -1e9 * (1 + violations))
    return found


@dataclass(slots=True)
class Budget:
    """Evaluates codes once each, up to a number, and keeps what it found.

    Attributes:
        problem: what is evaluated.
        evaluations: how many distinct codes may be.
        report: called with evaluations spent, all of them, and the best feasible merit so far.
    """

    problem: Problem
    evaluations: int
    report: Report = lambda *_: None
    known: dict[int, tuple[float, float]] = field(default_factory=dict)
    _rows: list[Codes] = field(default_factory=list)
    _merits: list[Floats] = field(default_factory=list)
    _violations: list[Floats] = field(default_factory=list)
    _weights: NDArray[np.int64] | None = None
    _spent: int = 0
    _fruitless: int = 0
    _top: float = -np.inf

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise UsageError(f"a search needs one or more evaluations, not {self.evaluations}")
        blocks = len(self.problem.space.choices)
        random = np.random.default_rng(12345)
        self._weights = random.integers(1, 2**62, size=blocks, dtype=np.int64) | 1

    @property
    def left(self) -> int:
        """Evaluations that may still be made."""
        return self.evaluations - self._spent

    def adopt(self, trials: Trials) -> None:
        """Takes over earlier trials, as if they had been made here: how a search resumes."""
        if len(trials.codes):
            self._keep(trials.codes, trials.merits, trials.violations, self._hash(trials.codes))

    def is_new(self, codes: Codes) -> NDArray[np.bool_]:
        """(n,): codes that were never evaluated; the second of two equal ones is not new."""
        found = np.zeros(len(codes), dtype=bool)
        found[self._fresh(self._hash(codes))] = True
        return found

    def evaluate(self, codes: Codes) -> tuple[Floats, Floats]:
        """(merits, violations), each (n,).

        Raises:
            Spent: not all could be evaluated; those that could are kept.
        """
        keys = self._hash(codes)
        fresh = self._fresh(keys)
        cut = len(fresh) > self.left
        chosen = fresh[: self.left]
        if len(chosen):
            self._evaluate(codes[chosen], [keys[i] for i in chosen])
        self._fruitless = 0 if len(fresh) else self._fruitless + 1
        if cut or self._fruitless > FRUITLESS or len(self.known) >= self.problem.space.count():
            raise Spent
        found = np.array([self.known[key] for key in keys])
        return found[:, 0], found[:, 1]

    def _evaluate(self, codes: Codes, keys: list[int]) -> None:
        merits = np.asarray(self.problem.merit(codes), dtype=np.float64)
        if merits.shape != (len(codes),):
            raise UsageError(f"the merit of {len(codes)} architectures must be as many numbers, "
                             f"not shape {merits.shape}")  # fmt: skip
        merits = np.where(np.isfinite(merits), merits, -np.inf)
        self._keep(codes, merits, self.problem.constraints.violation(codes), keys)
        self.report(self._spent, self.evaluations, self._top)

    def _keep(self, codes: Codes, merits: Floats, violations: Floats, keys: list[int]) -> None:
        self.known.update(zip(keys, zip(merits.tolist(), violations.tolist(), strict=True),
                              strict=True))  # fmt: skip
        self._rows.append(codes.copy())
        self._merits.append(merits)
        self._violations.append(violations)
        self._spent += len(codes)
        self._top = max(self._top, merits[violations <= 0].max(initial=-np.inf))

    def _fresh(self, keys: list[int]) -> list[int]:
        """Places of codes that were never evaluated, the first of each."""
        new: dict[int, int] = {}
        for place, key in enumerate(keys):
            if key not in self.known and key not in new:
                new[key] = place
        return list(new.values())

    def _hash(self, codes: Codes) -> list[int]:
        # 64-bit multiplicative hash: two of 50,000 codes collide once in 10 thousand million.
        assert self._weights is not None
        keys: list[int] = ((codes + 1) @ self._weights).tolist()
        return keys

    def trials(self) -> Trials:
        """All that was evaluated."""
        blocks = len(self.problem.space.choices)
        if not self._rows:
            return Trials(np.empty((0, blocks), dtype=np.int64), np.empty(0), np.empty(0))
        return Trials(np.concatenate(self._rows), np.concatenate(self._merits),
                      np.concatenate(self._violations))  # fmt: skip
