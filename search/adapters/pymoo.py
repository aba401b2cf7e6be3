"""pymoo: a problem with merit and costs as objectives and limits as constraints.

from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize

found = minimize(problem_of(problem), NSGA2(sampling=Sampling(space, rng), …), …)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.errors import MissingExtra
from lwprof.predictors.space import Codes, Space
from lwprof.search.problem import Problem

try:
    from pymoo.core.crossover import Crossover as _Crossover
    from pymoo.core.mutation import Mutation as _Mutation
    from pymoo.core.problem import Problem as _Problem
    from pymoo.core.sampling import Sampling as _Sampling
except ImportError:
    raise MissingExtra("this adapter needs pymoo: pip install 'lwprof[search]'") from None


class _Searched(_Problem):  # type: ignore[misc]
    def __init__(self, problem: Problem, evaluate: Callable[[Codes], Any]) -> None:
        choices = np.asarray(problem.space.choices)
        columns = 1 + len(problem.constraints.names)
        super().__init__(n_var=len(choices), n_obj=columns,
                         n_ieq_constr=len(problem.constraints.terms), xl=0, xu=choices - 1,
                         vtype=int)  # fmt: skip
        self._searched, self._merits = problem, evaluate

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        codes = np.asarray(x, dtype=np.int64)
        merits = self._merits(codes)[0]
        worst = np.where(np.isfinite(merits), -merits, 1e9)
        constraints = self._searched.constraints
        out["F"] = np.column_stack([worst, constraints.cost(codes)])
        if constraints.terms:
            out["G"] = constraints.excess(codes)


def problem_of(problem: Problem, evaluate: Callable[[Codes], Any] | None = None) -> Any:
    """A pymoo ``Problem``: F = (−merit, costs…), G = cost ÷ limit − 1 for each limit.

    Args:
        evaluate: codes → (merits, violations), in place of the problem's own merit.
    """

    def plain(codes: Codes) -> Any:
        return np.asarray(problem.merit(codes), dtype=np.float64), None

    return _Searched(problem, evaluate or plain)


class Sampling(_Sampling):  # type: ignore[misc]
    """Random codes of a space."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        super().__init__()
        self._space, self._rng = space, rng

    def _do(self, problem: Any, n_samples: int, **kwargs: Any) -> Any:
        return self._space.sample(n_samples, self._rng)


class Mutation(_Mutation):  # type: ignore[misc]
    """The space's mutation."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        super().__init__()
        self._space, self._rng = space, rng

    def _do(self, problem: Any, X: Any, **kwargs: Any) -> Any:
        return self._space.mutate(np.asarray(X, dtype=np.int64), self._rng)


class Crossing(_Crossover):  # type: ignore[misc]
    """The space's crossing: two children, each block from either parent."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        super().__init__(2, 2)
        self._space, self._rng = space, rng

    def _do(self, problem: Any, X: Any, **kwargs: Any) -> Any:
        a, b = (np.asarray(half, dtype=np.int64) for half in X)
        return np.stack([self._space.cross_over(a, b, self._rng) for _ in range(2)])
