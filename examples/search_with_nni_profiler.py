"""An NNI-style profiler and penalty on our table."""

from search_common import made_up_problem

from lwprof.search.adapters.nni import ExpectationPenalty, Profiler

problem = made_up_problem()
profiler = Profiler(problem.space, problem.constraints.costs[0], scale=1e3)
sample = {f"block{i}": i % 9 for i in range(22)}
penalty = ExpectationPenalty(profiler, baseline=11.0, scale=0.5, nonlinear="positive")
print(f"{profiler.profile(sample):.3f} ms; loss 2.0 becomes {penalty.aggregate(2.0, sample):.3f}")
