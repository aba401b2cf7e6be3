"""Ways of searching, all with one face: ``strategy(budget, rng)`` evaluates until it is spent.

- ``run(problem, "evolution", evaluations, rng)``: Trials
- ``names()``: all of them

Each asks for merits only through the budget, so that any two can be compared at equal numbers
of evaluated architectures. Differentiable searches train a supernet and are in
``lwprof.search.differentiable``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from lwprof.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from lwprof.search.problem import Budget, Problem, Report, Trials

    Strategy = Callable[[Budget, np.random.Generator], None]

_STRATEGIES = {
    "evolution": ("evolution", "evolution"),
    "exact": ("exact", "exact"),
    "halving": ("halving", "halving"),
    "hybrid": ("local", "hybrid"),
    "local": ("local", "local"),
    "mnasnet": ("controller", "mnasnet"),
    "mnasnet_hard": ("controller", "mnasnet_hard"),
    "nsga2": ("nsga2", "nsga2"),
    "qlearning": ("qlearning", "qlearning"),
    "random": ("sampling", "random"),
    "reinforce": ("controller", "reinforce"),
    "surrogate": ("surrogate", "surrogate"),
}


def names() -> tuple[str, ...]:
    """Names of all strategies, sorted."""
    return tuple(_STRATEGIES)


def strategy(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in _STRATEGIES:
        raise UsageError(f"no strategy is called {name!r}; there are {', '.join(_STRATEGIES)}")
    module, function = _STRATEGIES[name]
    found: Strategy = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return found


def run(
    problem: Problem, name: str, evaluations: int, rng: np.random.Generator,
    report: Report = lambda *_: None, earlier: Trials | None = None,
    keep: Callable[[Callable[[], Trials]], None] | None = None,
) -> Trials:  # fmt: skip
    """Searches with a strategy until its evaluations are spent or nothing is left to try.

    Args:
        evaluations: how many distinct architectures may be evaluated, earlier ones included.
        report: progress: evaluations spent, all, best feasible merit so far.
        keep: called after every evaluation with what gives all trials, to store them.
        earlier: trials of an interrupted search, which count and are not repeated.

    Raises:
        UsageError: no such strategy, or one that does not fit the problem.
        MissingExtra: it needs a package that is not installed.
    """
    from lwprof.search.problem import Budget, Spent

    method = strategy(name)

    def told(spent: int, whole: int, best: float) -> None:
        report(spent, whole, best)
        if keep is not None:
            keep(budget.trials)

    budget = Budget(problem, evaluations, told)
    if earlier is not None:
        budget.adopt(earlier)
    try:
        if budget.left > 0:
            method(budget, rng)
    except Spent:
        pass
    return budget.trials()


__all__ = ["names", "run", "strategy"]
