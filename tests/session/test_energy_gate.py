"""Ratios of energies for gates, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lwprof.errors import UsageError
from lwprof.profiler.session.compare import decide_gates
from lwprof.profiler.session.energy_gate import quotient, ratio_of, saved_ratio
from lwprof.profiler.session.energy_result import NONE
from lwprof.profiler.statistics import Estimate, mean_interval


def model(value: float, **changes: Any) -> dict[str, Any]:
    estimate = Estimate(value, 0.98 * value, 1.02 * value, blocks=12)
    scope = {"sensor": "ina3221:1-0040", "rails": ["VDD_IN"], "includes": ["module"]}
    return {"name": "net", "energy_j": estimate.to_json(), "energy_scope": scope, **changes}


def test_a_ratio_covers_the_truth_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        a, b = (mean_interval(true * (1 + 0.05 * rng.standard_normal(12))) for true in (2.0, 3.0))
        found = quotient(a, b)
        assert found is not None
        hits += found.low <= 1.5 <= found.high
    assert hits >= 0.95 * 400


@pytest.mark.parametrize(
    ("rise", "outcome"), [(1.0, "pass"), (1.2, "fail"), (1.05, "undecided")]
)  # fmt: skip
def test_a_gate_on_energy_is_decided_by_its_own_ratio(rise: float, outcome: str) -> None:
    energy = saved_ratio(model(1.0), model(rise))
    slow = Estimate(3.0, 2.9, 3.1)
    gates = decide_gates(slow, {"energy": 0.05, "latency": 0.05}, energy)
    assert gates["energy"]["outcome"] == outcome
    assert gates["latency"]["outcome"] == "fail"


def test_energy_that_was_refused_decides_nothing() -> None:
    assert ratio_of(NONE, NONE) is None
    assert decide_gates(Estimate(1, 1, 1), {"energy": 0.5})["energy"]["outcome"] == "undecided"


def test_an_energy_that_may_be_nothing_has_no_ratio() -> None:
    assert quotient(Estimate(0.1, -0.1, 0.3), Estimate(1.0, 0.9, 1.1)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"energy_j": None},
        {"energy_j": Estimate(1.0, 1.0, 1.0, source="simulated").to_json()},
        {"energy_scope": {"rails": ["VDD_CPU"], "includes": ["module"]}},
    ],
)
def test_energies_that_cannot_be_compared_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="energ"):
        saved_ratio(model(1.0), model(1.0, **other))
