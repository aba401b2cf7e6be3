"""Strategies and limits against brute force on spaces small enough to list."""

import itertools

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.search.constraints import Constraints, Limit, Priced, Regressed, log_spread
from lwprof.search.problem import Problem
from lwprof.search.spaces.options import OptionSpace
from lwprof.search.strategies import names, run

CHOICES = (4, 3, 5, 4, 3, 4)


def small(limit_s: float = 0.5, **more: object) -> tuple[Problem, np.ndarray]:
    """Six blocks, 2,880 codes, additive merit and latency; the limit leaves about 30 %."""
    rng = np.random.default_rng(7)
    space = OptionSpace({f"b{i}": tuple(range(c)) for i, c in enumerate(CHOICES)})
    costs = np.full((6, 5, 2), np.nan)
    merit = np.zeros((6, 5))
    for block, options in enumerate(CHOICES):
        costs[block, :options] = rng.random((options, 2)) * 0.2
        merit[block, :options] = costs[block, :options, 0] * 5 + rng.random(options)
    table = BlockTable(CHOICES, costs, [0.05, 0.01], ("latency_s", "energy_j"))

    def worth(codes: np.ndarray) -> np.ndarray:
        return merit[np.arange(6), codes].sum(axis=1)

    limits = Constraints([Limit("latency_s", limit_s)], [Priced(table)])
    every = np.array(list(itertools.product(*(range(c) for c in CHOICES))))
    return Problem(space, worth, limits, merit if more.get("additive") else None), every


def best_by_listing(problem: Problem, every: np.ndarray) -> float:
    legal = problem.constraints.violation(every) <= 0
    return float(problem.merit(every)[legal].max())


@pytest.mark.parametrize("limit_s", [0.3, 0.5, 0.8])
def test_the_integer_programme_agrees_with_listing(limit_s: float) -> None:
    problem, every = small(limit_s, additive=True)
    trials = run(problem, "exact", 1, np.random.default_rng(0))
    assert len(trials.codes) == 1 and trials.violations[0] == 0
    assert trials.merits[0] == pytest.approx(best_by_listing(problem, every), abs=1e-9)
    listed, _ = small(limit_s)
    assert run(listed, "exact", 1, np.random.default_rng(0)).merits.size == len(every)


@pytest.mark.parametrize("name", [n for n in names() if n not in ("exact", "random", "halving")])
def test_strategies_beat_random_and_respect_their_budget(name: str) -> None:
    problem, every = small()
    top = best_by_listing(problem, every)
    scores = {}
    # A learned policy takes seconds: whether it beats random is a benchmark's question.
    slow = name in ("reinforce", "mnasnet", "mnasnet_hard")
    for kind in (name, "random"):
        found = []
        for seed in range(1 if slow else 4):
            asked: list[int] = []

            def counted(codes: np.ndarray, seen: list[int] = asked) -> np.ndarray:
                seen.append(len(codes))
                return np.asarray(problem.merit(codes))

            watched = Problem(problem.space, counted, problem.constraints)
            trials = run(watched, kind, 40 if slow else 120, np.random.default_rng(seed))
            assert sum(asked) == len(trials.codes) <= (40 if slow else 120)
            assert len(np.unique(trials.codes, axis=0)) == len(trials.codes)
            index = trials.best()
            assert index is not None and trials.merits[index] <= top + 1e-9
            found.append(trials.merits[index])
        scores[kind] = np.mean(found)
    assert slow or scores[name] > scores["random"] - 1e-9


def test_halving_pays_for_cheap_answers_and_finds_more() -> None:
    problem, _ = small()
    spent = {"low": 0.0}

    def noisy(codes: np.ndarray, fidelity: float = 1.0) -> np.ndarray:
        spent["low"] += fidelity * len(codes)
        noise = np.random.default_rng(len(codes)).normal(size=len(codes))
        return np.asarray(problem.merit(codes)) + (1 - fidelity) * 0.3 * noise

    asked = Problem(problem.space, noisy, problem.constraints)
    found = [run(asked, "halving", 60, np.random.default_rng(s)) for s in range(5)]
    assert spent["low"] <= 5 * 60
    plain = [run(problem, "random", 60, np.random.default_rng(s)) for s in range(5)]
    assert np.mean([t.merits[t.best()] for t in found]) > np.mean(
        [t.merits[t.best()] for t in plain]
    )


def test_a_resumed_search_repeats_nothing() -> None:
    problem, _ = small()
    first = run(problem, "evolution", 100, np.random.default_rng(0))
    whole = run(problem, "evolution", 160, np.random.default_rng(1), earlier=first)
    assert (whole.codes[:100] == first.codes).all() and len(whole.codes) == 160
    assert len(np.unique(whole.codes, axis=0)) == 160


def test_an_infeasible_limit_ends_and_names_the_least() -> None:
    problem, every = small(limit_s=0.01)
    for name in ("evolution", "random", "exact"):
        assert run(problem, name, 100, np.random.default_rng(0)).best() is None
    (reach,) = problem.constraints.reach(problem.space, np.random.default_rng(0))
    cost = problem.constraints.cost(every)[:, 0]
    assert reach.exact and reach.value == pytest.approx(cost.min())


def test_chance_limits_hold_with_their_probability() -> None:
    problem, every = small()
    table = problem.constraints.costs[0].table  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    truth = table.predict(every)[:, 0] * np.exp(0.1 * rng.normal(size=len(every)))
    spread = log_spread(table.predict(every)[:500, 0], truth[:500])
    assert spread == pytest.approx(0.1, rel=0.1)
    limits = Constraints([Limit("latency_s", 0.5, 0.95)], [Priced(table, spread=spread)])
    near = np.abs(limits.excess(every)[:, 0]) < 0.01
    assert 0.02 < np.mean(truth[near] > 0.5) < 0.10
    additive, _ = small(additive=True)
    chance = Problem(additive.space, additive.merit, limits, additive.additive_merit)
    listed = Problem(additive.space, additive.merit, limits)
    assert run(chance, "exact", 1, rng).merits[0] == pytest.approx(
        best_by_listing(listed, every), abs=1e-9
    )


def test_several_devices_are_held_to_the_worst_or_each_to_its_own() -> None:
    problem, every = small()
    table = problem.constraints.costs[0].table  # type: ignore[attr-defined]
    slower = BlockTable(CHOICES, table.costs * 1.5, table.base * 1.5, table.quantities)
    both = [Priced(table, "fast"), Priced(slower, "slow")]
    worst = Constraints([Limit("latency_s", 0.5)], both)
    expected = np.maximum(table.predict(every)[:, 0], slower.predict(every)[:, 0]) <= 0.5
    assert ((worst.violation(every) <= 0) == expected).all()
    each = Constraints(
        [Limit("latency_s", 0.3, device="fast"), Limit("latency_s", 0.7, device="slow"),
         Limit("energy_j", 0.6, device="slow")], both,
    )  # fmt: skip
    legal = (
        (table.predict(every)[:, 0] <= 0.3)
        & (slower.predict(every)[:, 0] <= 0.7)
        & (slower.predict(every)[:, 1] <= 0.6)
    )
    assert ((each.violation(every) <= 0) == legal).all()
    with pytest.raises(UsageError, match="nothing prices latency_s on pi4"):
        Constraints([Limit("latency_s", 1.0, device="pi4")], both)


def test_quantiles_of_a_regressor_come_from_its_interval() -> None:
    class Normal:
        def predict(self, codes: np.ndarray) -> np.ndarray:
            return np.full(len(codes), 1.0)

        def predict_interval(self, codes: np.ndarray, level: float) -> tuple[object, object]:
            return np.full(len(codes), 1 - level), np.full(len(codes), 1 + level)

    upper = Regressed(Normal()).quantile(np.zeros((2, 3)), 0.95)
    assert upper[:, 0] == pytest.approx([1.9, 1.9])
    assert Regressed(Normal()).quantile(np.zeros((1, 3)), 0.05)[0, 0] == pytest.approx(0.1)
