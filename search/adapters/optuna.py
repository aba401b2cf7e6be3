"""Optuna: block choices as parameters, limits as ``constraints_func``, studies shared by workers.

    study = optuna.create_study(directions=["maximize"], storage="sqlite:///s.db", …,
                                sampler=TPESampler(constraints_func=excess_of))
    study.optimize(objective(problem), n_trials=100)

Every process that opens the same storage and name is a worker. A worker that is killed leaves its
trial marked as running; ``recover`` puts such trials back in the queue.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np

from lwprof.errors import MissingExtra
from lwprof.predictors.space import Codes, Space
from lwprof.search.problem import Problem

try:
    import optuna
except ImportError:
    raise MissingExtra("this adapter needs Optuna: pip install 'lwprof[search]'") from None

EXCESS = "lwprof:excess"
CODE = "lwprof:code"


def suggest(trial: Any, space: Space) -> Codes:
    """The trial's code (blocks,): a categorical parameter for every block."""
    names = list(getattr(space, "blocks", ())) or [f"block{i}" for i in range(len(space.choices))]
    chosen = [trial.suggest_categorical(name, list(range(options)))
              for name, options in zip(names, space.choices, strict=True)]  # fmt: skip
    return np.array(chosen, dtype=np.int64)


def objective(problem: Problem) -> Callable[[Any], float]:
    """What ``study.optimize`` calls: the merit, with the excess over limits kept beside it."""

    def run(trial: Any) -> float:
        code = suggest(trial, problem.space)
        trial.set_user_attr(EXCESS, problem.constraints.excess(code[None])[0].tolist())
        trial.set_user_attr(CODE, code.tolist())
        value = float(np.asarray(problem.merit(code[None]))[0])
        if not np.isfinite(value):
            raise optuna.TrialPruned
        return value

    return run


def excess_of(trial: Any) -> list[float]:
    """``constraints_func`` of a sampler: cost ÷ limit − 1 of every limit, feasible when ≤ 0."""
    found: list[float] = trial.user_attrs.get(EXCESS, [1.0])
    return found


def recover(study: Any, older_than_s: float = 0.0) -> int:
    """Queues the trials that killed workers left running, and marks those as failed.

    Args:
        older_than_s: leave younger ones alone: their workers may be alive.

    Returns:
        How many were queued again.
    """
    now, count = datetime.datetime.now(), 0
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        started = trial.datetime_start
        if started is not None and (now - started).total_seconds() < older_than_s:
            continue
        if trial.params:
            study.enqueue_trial(dict(trial.params), user_attrs={"lwprof:retry_of": trial.number})
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        count += 1
    return count
