"""pymoo's NSGA-II on one of our problems: a front of merit against latency."""

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from search_common import made_up_problem

from lwprof.search.adapters.pymoo import Crossing, Mutation, Sampling, problem_of

problem, rng = made_up_problem(), np.random.default_rng(0)
space = problem.space
algorithm = NSGA2(
    pop_size=60,
    sampling=Sampling(space, rng),
    crossover=Crossing(space, rng),
    mutation=Mutation(space, rng),
)
found = minimize(problem_of(problem), algorithm, ("n_gen", 40), seed=1)
best = found.F[np.argmin(found.F[:, 0])]
print(f"front of {len(found.F)}; best merit {-best[0]:.2f} at {best[1] * 1e3:.2f} ms")
