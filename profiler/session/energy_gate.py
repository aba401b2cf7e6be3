"""The energy of two sides of a comparison: measured in turn, as a ratio for gates."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.errors import UsageError
from lwprof.profiler.session.energy import EnergyCampaign, model_energy
from lwprof.profiler.session.energy_result import ModelEnergy
from lwprof.profiler.session.meter import Meter
from lwprof.profiler.session.runner import BudgetSpent, Runner
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import Subject


def both(
    runner: Runner,
    meter: Meter,
    affinity: Sequence[int],
    sides: Sequence[tuple[str, str, Runnable, float]],
) -> list[ModelEnergy]:
    """The energy of each side, visited in turn in random order as far as the budget lasts.

    Args:
        sides: name, SHA-256, model and seconds per inference of each.
    """
    models: dict[str, tuple[Runnable, float]] = {}
    for place, (name, sha256, runnable, seconds) in enumerate(sides):
        # The same file in two settings is two subjects.
        key = f"{sha256}:{place}"
        runner.store.put_subject(Subject(key, "model", name))
        models[key] = (runnable, seconds)
    campaign = EnergyCampaign(runner, meter, affinity, models)
    with contextlib.suppress(BudgetSpent):
        campaign.measure_models()
    return [model_energy(*campaign.visits(key), meter, {}, None) for key in models]


def ratio_of(a: ModelEnergy, b: ModelEnergy) -> Estimate | None:
    """Joules per inference of B over those of A; None where one was refused."""
    if a.total is None or b.total is None:
        return None
    return quotient(a.total.energy_j, b.total.energy_j)


def quotient(a: Estimate, b: Estimate) -> Estimate | None:
    """B over A with the ends of both intervals: wider than either needs, never narrower.

    A sensor's gain error, which is the same for both, cancels. None where A may be 0.
    """
    if a.low <= 0 or a.value <= 0:
        return None
    return Estimate(b.value / a.value, b.low / a.high, b.high / a.low, level=a.level,
                    blocks=min(a.blocks or 0, b.blocks or 0) or None)  # fmt: skip


def saved_ratio(a: Mapping[str, Any], b: Mapping[str, Any]) -> Estimate | None:
    """The ratio from the models of two result files.

    Raises:
        UsageError: one holds no measured energy, or they are energies of different things.
    """
    found = []
    for model in (a, b):
        value = model.get("energy_j")
        estimate = Estimate.from_json(value) if isinstance(value, dict) else None
        if estimate is None or estimate.source != "measured":
            raise UsageError(
                f"the result of {model.get('name')} holds no measured energy: drop --gate energy, "
                "or measure again with --energy on a device with a sensor"
            )
        found.append(estimate)
    scopes = [model.get("energy_scope") or {} for model in (a, b)]
    for name in ("rails", "includes"):
        if scopes[0].get(name) != scopes[1].get(name):
            raise UsageError(
                f"these energies are of different {name} ({scopes[0].get(name)} and "
                f"{scopes[1].get(name)}): measure both over the same rails"
            )
    return quotient(*found)
