"""Optuna with our limits as constraints. Start it several times with the same storage:

    python examples/search_with_optuna.py sqlite:///study.db 200

Every process is a worker; killed ones lose nothing, their trials are queued again.
"""

import sys
import time

import optuna
from search_common import made_up_problem

from lwprof.search.adapters.optuna import excess_of, objective, recover

storage = sys.argv[1] if len(sys.argv) > 1 else None
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 40
pause_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0

optuna.logging.set_verbosity(optuna.logging.WARNING)
problem = made_up_problem()
study = optuna.create_study(
    study_name="fbnet",
    storage=storage,
    load_if_exists=True,
    direction="maximize",
    sampler=optuna.samplers.RandomSampler()
    if storage
    else optuna.samplers.TPESampler(seed=0, constraints_func=excess_of),
)
recovered = recover(study, older_than_s=30.0)
merit = objective(problem)


def slowly(trial: optuna.Trial) -> float:
    """As long as an evaluation may take, so that a worker can be killed in the middle of one."""
    value = merit(trial)
    time.sleep(pause_s)
    return value


done = (optuna.trial.TrialState.COMPLETE,)
while len(study.get_trials(deepcopy=False, states=done)) < wanted:
    study.optimize(slowly, n_trials=1)
legal = [t for t in study.get_trials(states=done) if max(excess_of(t)) <= 0]
best = max((t.value for t in legal), default=float("nan"))
print(f"{len(study.get_trials(states=done))} trials, {recovered} recovered, best {best:.2f}")
