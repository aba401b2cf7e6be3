"""The campaign that builds a device's table: which network to measure next, and measuring it.

A kernel teaches what a fit does not know of it, as far as networks spend their time on it: the
variance that the fit predicts for it, weighted by its share of the network's time. A network
teaches the sum over its kernels that were never measured, and costs the processes that it takes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lwprof.errors import LwprofError
from lwprof.predictors.kernel_regressor import KernelRegressor
from lwprof.predictors.kernel_samples import LEAST
from lwprof.predictors.space import Floats
from lwprof.profiler.kernels import Workload
from lwprof.profiler.session.link import Link, open_device
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import prepare, read_model
from lwprof.profiler.session.result import MeasurementResult, ModelResult
from lwprof.profiler.session.runner import Progress
from lwprof.profiler.session.survey import BLOCKS, survey
from lwprof.profiler.store import Store
from lwprof.zoo import figures

BATCH = 6
LOOK = 18
"""Candidates whose kernels are looked at for each batch; more would take longer than they teach."""
_START_S = 1.6
"""A process that measures a network: its start, loading, the runtime's chains."""
_INFERENCES = 14
"""Inferences of a network in each process: plain, profiled and warming up."""
_ENOUGH = 2.0
"""Standard deviations, in the log, above which all ignorance counts alike."""

SAMPLED = 240
"""Networks drawn at random among the candidates."""
_MOST_MACS = 2_500_000_000

Kernels = Callable[[str], Sequence[Any]]


class Teaching:
    """Chooses networks by what they would teach.

    Args:
        names: candidates.
        kernels: gives the workloads of a candidate's kernels in order, without measuring it.
        random_state: of the first batch, and of which candidates are looked at.
        active: False chooses at random, to compare with.
    """

    def __init__(
        self, names: Sequence[str], kernels: Kernels, random_state: int = 0, active: bool = True
    ) -> None:
        self._left = list(names)
        random.Random(random_state).shuffle(self._left)
        self._kernels = kernels
        self._random_state = random_state
        self._active = active

    def next(self, costs: Mapping[str, tuple[Any, float]]) -> list[str]:
        """The next batch; empty when no candidate is left.

        Args:
            costs: what is known, by workload key: the workload and its seconds.
        """
        first = not self._active or len(costs) < LEAST
        chosen = self._left[:BATCH] if first else self._best(costs)
        self._left = [name for name in self._left if name not in chosen]
        return chosen

    def _best(self, costs: Mapping[str, tuple[Any, float]]) -> list[str]:
        model = KernelRegressor(self._random_state, trees=0)
        model.fit([workload for workload, _ in costs.values()], [s for _, s in costs.values()])
        known = set(costs)
        looked = {name: list(self._kernels(name)) for name in self._left[:LOOK]}
        # Those that were looked at and not taken go to the end, so that all get their turn.
        self._left = self._left[LOOK:] + self._left[:LOOK]
        chosen: list[str] = []
        while len(chosen) < BATCH and len(chosen) < len(looked):
            gains = {
                name: gain(model, kernels, known)
                for name, kernels in looked.items() if name not in chosen
            }  # fmt: skip
            best = max(gains, key=lambda name: gains[name])
            chosen.append(best)
            known |= {w.key for w in looked[best]}
        return chosen


def gain(model: KernelRegressor, kernels: Sequence[Any], known: set[str]) -> float:
    """What measuring a network would teach, for each second that it takes."""
    if not kernels:
        return 0.0
    seconds = model.predict(kernels)
    total = float(seconds.sum())
    cost = _START_S + _INFERENCES * total
    fresh = [place for place, w in enumerate(kernels) if w.key not in known]
    if not fresh:
        return 0.0
    unknown = np.minimum(model.spread([kernels[place] for place in fresh]), _ENOUGH)
    share: Floats = seconds[fresh] / total
    return float(np.sum(share * unknown**2)) / cost


def candidates() -> list[str]:
    """The networks that a campaign chooses from: those of the zoo that are not large, and many
    drawn at random."""
    zoo = [name for name, entry in figures().items() if entry.macs <= _MOST_MACS]
    return [*zoo, *(f"sampled_{number}" for number in range(SAMPLED))]


def run_campaign(
    link: Link,
    settings: Settings,
    effort: Effort,
    store: Store,
    *,
    names: Sequence[str] = (),
    seed: int | None = None,
    active: bool = True,
    progress: Progress = lambda *_: None,
    announce: Callable[[str], None] = lambda _: None,
) -> MeasurementResult:
    """Measures networks that teach most about the device's kernels until the budget is spent.

    Args:
        names: the candidates; ``candidates()`` where none are given.
        seed: of the first batch and of the visiting order.
        active: False takes them in random order.

    Raises:
        ModelError: a named candidate cannot be read.
        RunError: the device failed.
    """
    for name in names:
        read_model(name, settings)
    names = list(names) or candidates()
    announce(
        f"campaign on {link.name}: chooses among {len(names)} networks what teaches most, {BLOCKS} "
        f"processes each, for {effort.budget_s / 60:.1f} min of device time; then run "
        f"lwprof fit --device {link.name}"
    )
    with open_device("host") as here:
        looked: dict[str, list[Workload]] = {}

        def kernels(name: str) -> list[Workload]:
            """What the runtime makes of a network here, as far as it can be said: on another
            processor layouts differ, but not what is computed."""
            if name not in looked:
                try:
                    done = prepare(here.agent, read_model(name, settings), settings, 1)
                    looked[name] = [kernel.workload for kernel in done.kernels]
                except LwprofError:
                    looked[name] = []
            return looked[name]

        teaching = Teaching(names, kernels, seed or 0, active)

        def choose(
            results: Mapping[str, ModelResult], workloads: Mapping[str, Workload]
        ) -> list[str]:
            return teaching.next(_costs(results, workloads))

        return survey(
            link, choose, lambda name: read_model(name, settings), settings, effort, store,
            seed=seed, progress=progress,
        )  # fmt: skip


def _costs(
    results: Mapping[str, ModelResult], workloads: Mapping[str, Workload]
) -> dict[str, tuple[Workload, float]]:
    found: dict[str, tuple[Workload, float]] = {}
    for result in results.values():
        for kernel in result.kernels:
            told = kernel.latency_s
            if kernel.workload in workloads and not told.at_most and told.value > 0:
                found[kernel.workload] = (workloads[kernel.workload], told.value)
    return found
