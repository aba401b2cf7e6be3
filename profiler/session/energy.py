"""Energy of models and of their kernels: which blocks to run, and what they say.

A model has an arm of its own, one window per fresh process. Kernels are repeated alone, each
in a window of its own, many windows to a process; a round visits every loop once. The
network's windows never enter the kernels' solution, so their sum can be checked on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.agents import Agent
from lwprof.errors import UsageError
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session import energy_blocks
from lwprof.profiler.session.calibrate import calibrated
from lwprof.profiler.session.chains import LONG, SHORT
from lwprof.profiler.session.energy_result import ModelEnergy
from lwprof.profiler.session.isolated import MANY, VISITS, Bench
from lwprof.profiler.session.meter import Meter, choose, instruments_of, why_none
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import Prepared
from lwprof.profiler.session.result import ModelResult
from lwprof.profiler.session.runner import BudgetSpent, Runner
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.statistics.energy import Energy, Visit, energy_interval, rounding_w
from lwprof.profiler.statistics.kernel_energy import (
    Kernels,
    Loop,
    Solved,
    energy_closure,
    kernels,
    solve,
)
from lwprof.profiler.statistics.power import SensorRefused

MODEL, LOOPS = "energy", "energy_loops"
"""Arms: whole models, and loops of single kernels."""

LATENCY_SHARE = 0.6
"""Of the device time, where energy is measured as well; the rest is for that."""

BLOCKS = 12
ROUNDS = 6
_LOOPS_PER_PROCESS = 12
_CALL, _GAP = "call", "gap"
# Below this many visits an interval says next to nothing.
_LEAST_VISITS = 3
_MOST_REFUSED = 0.5


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """One kernel's loop: the model that is repeated and what one run of it holds."""

    model: Runnable
    counts: Mapping[str, float]
    seconds: float


@dataclass(slots=True)
class EnergyCampaign:
    """Runs the energy arms of a run's models.

    Args:
        runner: runs and stores the blocks.
        meter: the sensor.
        affinity: processors of the workers.
        models: by subject key: the model and the seconds of one inference.
    """

    runner: Runner
    meter: Meter
    affinity: Sequence[int]
    models: Mapping[str, tuple[Runnable, float]]

    def measure_models(self) -> None:
        """Visits each model in turn, in random order, until each has its blocks.

        Raises:
            BudgetSpent: the device time is used up.
        """
        while True:
            left = [k for k in self.models if len(self.runner.blocks(MODEL, k)) < BLOCKS]
            if not left:
                return
            self.runner.rng.shuffle(left)
            for key in left:
                model, seconds = self.models[key]
                self._execute(MODEL, key, [(key, model, seconds)])

    def measure_loops(self, plans: Mapping[str, LoopPlan]) -> None:
        """Visits every loop once per round, in random order, over several processes.

        Raises:
            BudgetSpent: the device time is used up.
        """
        if not plans:
            return
        for index in range(len(self.rounds(plans)), ROUNDS):
            order = list(plans)
            self.runner.rng.shuffle(order)
            for start in range(0, len(order), _LOOPS_PER_PROCESS):
                part = order[start : start + _LOOPS_PER_PROCESS]
                work = [(name, plans[name].model, plans[name].seconds) for name in part]
                self._execute(LOOPS, VISITS, work, group=index)

    def _execute(
        self, arm: str, subject: str, work: Sequence[tuple[str, Runnable, float]], group: int = 0
    ) -> None:
        self.runner.progress("energy", self.runner.spent_s, self.runner.budget_s)
        seed = self.runner.rng.randrange(2**31)
        script = energy_blocks.script(work, self.meter, self.affinity, seed=seed)
        self.runner.execute(arm, subject, {**script, "round": group})

    def rounds(self, plans: Mapping[str, LoopPlan]) -> list[dict[str, Visit]]:
        """The rounds that hold every loop; one with refused readings is left out."""
        by_round: dict[int, dict[str, Visit]] = {}
        for block in self.runner.blocks(LOOPS, VISITS):
            script, record = block.payload["script"], block.payload["record"]
            try:
                found = energy_blocks.read(script, record, self.meter.labels, self.meter.known)
            except SensorRefused:
                continue
            by_round.setdefault(int(script.get("round", 0)), {}).update(found)
        return [found for _, found in sorted(by_round.items()) if set(plans) <= set(found)]

    def visits(self, key: str) -> tuple[list[Visit], list[str]]:
        """A model's visits, and why the others were refused; flagged blocks are left out
        where enough are clean."""
        found, refusals = [], []
        blocks = self.runner.blocks(MODEL, key)
        clean = [block for block in blocks if not block.flags]
        for block in clean if 2 * len(clean) >= len(blocks) else blocks:
            try:
                read = energy_blocks.read(
                    block.payload["script"],
                    block.payload["record"],
                    self.meter.labels,
                    self.meter.known,
                )
                found.append(read[key])
            except SensorRefused as error:
                refusals.append(str(error))
        return found, refusals


def plans(
    bench: Bench, keys: Sequence[str], chains: Mapping[str, Runnable], blocks: Sequence[Any]
) -> dict[str, LoopPlan]:
    """A loop for each kernel measured alone, and two chains for the call and the gap.

    A lone kernel's model may hold layout changes that the runtime puts around it. They are
    taken to draw the same power as the kernel, so that the kernel has its share of the time.

    Args:
        bench: the single-kernel models.
        keys: workloads wanted.
        chains: the synthetic chains; without them nothing is planned.
        blocks: finished visits, which tell the shares and the lengths.
    """
    if SHORT not in chains or LONG not in chains:
        return {}
    shares = _shares(bench, blocks)
    out: dict[str, LoopPlan] = {}
    for key in keys:
        single = bench.singles.get(key)
        if single is None or key not in shares:
            continue
        share, seconds, nodes = shares[key]
        if single.many is not None:
            counts = {key: float(MANY), _CALL: 1.0, _GAP: float(MANY)}
            out[key] = LoopPlan(single.many, counts, MANY * share * seconds)
        else:
            counts = {key: 1.0 / share, _CALL: 1.0, _GAP: float(nodes)}
            out[key] = LoopPlan(single.one, counts, seconds)
    if out:
        out[SHORT] = LoopPlan(chains[SHORT], {_CALL: 1.0, _GAP: 8.0}, 2e-5)
        out[LONG] = LoopPlan(chains[LONG], {_CALL: 1.0, _GAP: 64.0}, 1e-4)
    return out


def _shares(bench: Bench, blocks: Sequence[Any]) -> dict[str, tuple[float, float, int]]:
    """By workload: the kernel's share of its own model's time, the model's seconds, its nodes."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for block in blocks:
        view = reading.isolated(block.payload["script"], block.payload["record"])
        for key, (names, _, durations) in view.reported_s.items():
            single = bench.singles.get(key)
            if single is None or single.node not in names:
                continue
            middle = np.median(durations, axis=0)
            total = float(middle.sum())
            share = float(middle[names.index(single.node)]) / total if total > 0 else 1.0
            found.setdefault(key, []).append((max(share, 0.05), total, len(names)))
    return {
        key: (
            float(np.median([row[0] for row in rows])),
            float(np.median([row[1] for row in rows])),
            rows[0][2],
        )
        for key, rows in found.items()
    }


def solved(rounds: Sequence[Mapping[str, Visit]], plan: Mapping[str, LoopPlan]) -> Solved | None:
    """The kernels' energies in each round; None with too few rounds."""
    if len(rounds) < _LEAST_VISITS:
        return None
    loops = []
    for name, loop in plan.items():
        found = [visits[name] for visits in rounds]
        length = found[0].seconds / found[0].n
        uniform = rounding_w(found, idle=False) * length
        loops.append(Loop(loop.counts, [visit.above_idle_j for visit in found], uniform))
    return solve(loops)


def model_energy(
    found: Sequence[Visit],
    refusals: Sequence[str],
    meter: Meter,
    counts: Mapping[str, float],
    loops: Solved | None,
    level: float = 0.95,
) -> ModelEnergy:
    """The energy of one model from its visits and the kernels' loops.

    Args:
        found: the model's visits.
        refusals: why others were refused.
        counts: how often each workload runs in one inference.
        loops: the kernels' solution, None without one.
    """
    scope = meter.scope()
    if refusals and len(refusals) >= _MOST_REFUSED * (len(refusals) + len(found)):
        return ModelEnergy(None, scope, refused=refusals[0])
    if len(found) < _LEAST_VISITS:
        return ModelEnergy(None, scope, refused=f"only {len(found)} blocks measured energy")
    try:
        total = energy_interval(found, level)
    except SensorRefused as error:
        return ModelEnergy(None, scope, refused=str(error))
    known = {k: n for k, n in counts.items() if loops is not None and k in loops.columns}
    if loops is None or not known:
        return ModelEnergy(total, scope)
    parts: Kernels = kernels(loops, known, level)
    closure = None
    if set(known) == set(counts):
        every = {**counts, _CALL: 1.0, _GAP: float(sum(counts.values()))}
        closure = energy_closure(_with_idle(loops.combined(every, level), found), total.energy_j)
    return ModelEnergy(
        total, scope, None, parts.alone, parts.group, parts.group_j, closure
    )  # fmt: skip


def _with_idle(above: Estimate, found: Sequence[Visit]) -> Estimate:
    """A sum above idle plus what idling costs over one inference."""
    idle = float(np.mean([visit.idle_w * visit.seconds / visit.n for visit in found]))
    return Estimate(above.value + idle, above.low + idle, above.high + idle,
                    level=above.level, blocks=above.blocks)  # fmt: skip


def assumed(latency_s: Estimate, idle_w: float, busy_w: float) -> ModelEnergy:
    """An estimate for a device without a sensor, from powers that the user states.

    Marked ``simulated`` in every number and in the scope: it says nothing about which model
    draws more power, only about how long each draws it.
    """

    def scaled(watts: float) -> Estimate:
        found = latency_s.scaled(watts)
        return Estimate(found.value, found.low, found.high, level=found.level, source="simulated")

    def flat(watts: float) -> Estimate:
        return Estimate(watts, watts, watts, source="simulated")

    total = Energy(scaled(busy_w), scaled(max(0.0, busy_w - idle_w)), flat(busy_w), flat(idle_w))
    scope = {"sensor": "assumed", "rails": [], "includes": ["assumed"], "calibrated": False,
             "simulated": True}  # fmt: skip
    return ModelEnergy(total, scope)


def run(campaign: EnergyCampaign, bench: Bench, keys: Sequence[str],
        chains: Mapping[str, Runnable], *, with_kernels: bool) -> tuple[Solved | None, bool]:  # fmt: skip
    """Both arms, as far as the budget lasts.

    Returns:
        The kernels' solution (None without one), and whether the budget was spent.
    """
    plan: dict[str, LoopPlan] = {}
    spent = False
    if with_kernels:
        plan = plans(bench, keys, chains, campaign.runner.blocks("isolated", VISITS))
    try:
        campaign.measure_models()
        campaign.measure_loops(plan)
    except BudgetSpent:
        spent = True
    return (solved(campaign.rounds(plan), plan) if plan else None), spent


def meter_for(agent: Agent, settings: Settings, effort: Effort) -> Meter | None:
    """The sensor of this session; None where energy is not wanted or not to be had.

    Raises:
        UsageError: energy was insisted on and there is no sensor, or no such rail.
    """
    if effort.energy is False:
        return None
    found = instruments_of(agent)
    provider = settings.provider.removesuffix("ExecutionProvider")
    meter = choose(found, provider, effort.rails)
    if meter is not None:
        meter = calibrated(meter, agent.facts().hardware_id)
    if meter is None and effort.energy and effort.assumed_power_w is None:
        raise UsageError(f"this device's energy cannot be measured: {why_none(found)}")
    return meter


@dataclass(frozen=True, slots=True)
class Subject:
    """A model whose energy is wanted, and the seconds of one inference."""

    prepared: Prepared
    latency_s: float

    @property
    def counts(self) -> dict[str, float]:
        """How often each workload runs in one inference."""
        return {k: float(n) for k, n in Counter(
            kernel.workload.key for kernel in self.prepared.kernels).items()}  # fmt: skip


def complete(
    results: Sequence[ModelResult],
    subjects: Sequence[Subject],
    runner: Runner,
    effort: Effort,
    meter: Meter | None,
    affinity: Sequence[int],
    bench: Bench,
    chains: Mapping[str, Runnable],
) -> list[ModelResult]:
    """The results with their energy: measured, assumed where that was asked for, or none.

    Args:
        results: of the same models as ``subjects``, in their order.
        bench: single-kernel models of the run; ``chains``: the synthetic chains.
    """
    if meter is None:
        if effort.assumed_power_w is None:
            return list(results)
        watts = effort.assumed_power_w
        return [result.with_energy(assumed(result.latency_s, *watts)) for result in results]
    models = {s.prepared.graph.sha256: (s.prepared.runnable, s.latency_s) for s in subjects}
    campaign = EnergyCampaign(runner, meter, affinity, models)
    keys = sorted({key for subject in subjects for key in subject.counts})
    loops, _ = run(campaign, bench, keys, chains, with_kernels=effort.kernels and effort.isolated)
    return [
        result.with_energy(
            model_energy(*campaign.visits(result.sha256), meter, subject.counts, loops)
        )
        for result, subject in zip(results, subjects, strict=True)
    ]
