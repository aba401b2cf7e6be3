"""Channel selection by a genetic algorithm (Hu et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwprof.compression.pruning.problem import Problem

_POPULATION, _GENERATIONS, _ELITE = 24, 20, 6


def genetic(problem: Problem) -> Any:
    """Masks of all channels evolve towards the least error within the limit.

    Selection by rank, crossover of whole groups and of single channels, mutation by exchanging
    channels; a child above the limit loses its lowest-scored channels until it fits. The first
    generation holds the mask by scores, so that the result is never worse than that.
    """
    problem.check()
    random = np.random.default_rng(problem.seed)
    start = np.ones(problem.found.units, dtype=bool)
    people = [_fitted(problem, start, random, noise=0.0)]
    while len(people) < _POPULATION:
        people.append(_fitted(problem, start, random, noise=random.uniform(0.05, 0.5)))
    marks = [problem.loss(kept) for kept in people]
    for _ in range(_GENERATIONS):
        order = np.argsort(marks)
        people = [people[i] for i in order[:_ELITE]]
        marks = [marks[i] for i in order[:_ELITE]]
        children: list[Any] = []
        while len(people) + len(children) < _POPULATION:
            mother, father = random.choice(_ELITE, 2, replace=False)
            child = _crossed(problem, people[mother], people[father], random)
            children.append(_fitted(problem, child, random, noise=0.05))
        people += children
        marks += [problem.loss(kept) for kept in children]
    return problem.filled(people[int(np.argmin(marks))])


def _crossed(problem: Problem, first: Any, second: Any, random: Any) -> Any:
    child = first.copy()
    for group in problem.found.groups:
        units = np.array(group.units)
        kind = random.random()
        if kind < 0.4:
            child[units] = second[units]
        elif kind < 0.6:
            from_second = random.random(len(units)) < 0.5
            child[units] = np.where(from_second, second[units], first[units])
        if random.random() < 0.3:
            child[random.choice(units)] ^= True
    return child


def _fitted(problem: Problem, kept: Any, random: Any, noise: float) -> Any:
    """Removes low-scored channels, scores jittered by ``noise``, until the price fits."""
    kept = kept.copy()
    scale = np.exp(noise * random.standard_normal(len(kept)))
    scores = problem.scores * scale
    least = problem.least
    for group, low in zip(problem.found.groups, least, strict=True):
        units = np.array(group.units)
        short = int(low) - int(kept[units].sum())
        if short > 0:
            gone = units[~kept[units]]
            kept[gone[np.argsort(-scores[gone])[:short]]] = True
    worth = _relative(problem, scores)
    while problem.cost(widths := problem.found.counts(kept)) > problem.limit:
        free = [u for g, low, w in zip(problem.found.groups, least, widths, strict=True)
                for u in g.units if kept[u] and w > low]  # fmt: skip
        if not free:
            break
        order = sorted(free, key=lambda u: worth[u])
        for unit in order[: max(1, len(order) // 20)]:
            kept[unit] = False
        for group, low in zip(problem.found.groups, least, strict=True):
            units = np.array(group.units)
            short = int(low) - int(kept[units].sum())
            if short > 0:
                gone = units[~kept[units]]
                kept[gone[np.argsort(-scores[gone])[:short]]] = True
    return kept


def _relative(problem: Problem, scores: Any) -> Any:
    """Scores per cost of a channel of their group, at full width."""
    widths = problem.found.widths
    base = problem.cost(widths)
    found = np.array(scores, dtype=float)
    for number, group in enumerate(problem.found.groups):
        fewer = widths.copy()
        fewer[number] = max(int(problem.least[number]), int(widths[number]) // 2)
        saved = base - problem.cost(fewer)
        found[list(group.units)] /= max(saved / max(1, widths[number] - fewer[number]), 1e-30)
    return found
