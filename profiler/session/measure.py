"""The main job: measure models and their kernels on one device, into a store."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lwprof.profiler.kernels import Workload
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session import energy as joules
from lwprof.profiler.session import scripts
from lwprof.profiler.session.analysis import Alone, model_result, overhead_estimates, unflagged
from lwprof.profiler.session.guard import guard_for
from lwprof.profiler.session.isolated import VISITS, Bench, alone, small_kernels
from lwprof.profiler.session.link import Link
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import Prepared, prepare, prepare_chains
from lwprof.profiler.session.result import MeasurementResult, ModelResult
from lwprof.profiler.session.runner import BudgetSpent, Progress, Runner, add_subjects
from lwprof.profiler.statistics import Estimate, StopRule
from lwprof.profiler.store import OVERHEAD, Fact, Store, Subject

# Blocks of each kernel alone: enough for a t interval over processes.
ISOLATED_BLOCKS = 8
# A kernel already known this precisely, relative to its latency, is not measured again.
_PRECISE = 0.05
_PILOT = "pilot"
_MOST_BLOCK_S = 3.0


@dataclass(slots=True)
class Measured:
    """A model under measurement: its stop rule and the arms that it still needs."""

    prepared: Prepared
    rule: StopRule
    latency_s: float = 0.05
    end_to_end_done: bool = False

    @property
    def key(self) -> str:
        return self.prepared.graph.sha256


@dataclass(slots=True)
class Campaign:
    """All visits of one run: end to end, in context, and kernels alone, interleaved at random."""

    runner: Runner
    effort: Effort
    affinity: Sequence[int]
    models: list[Measured]
    bench: Bench
    chains: dict[str, scripts.Runnable]
    wanted: list[str] = field(default_factory=list)
    spent: bool = False
    least_s: float = 0.0

    def measure(self) -> None:
        """Visits until every model is known well enough or the budget is spent."""
        try:
            for model in self.models:
                self._pilot(model)
                self._first(model)
            while visits := self._round():
                self.runner.rng.shuffle(visits)
                self.runner.execute_all(visits)
                self._look()
                self._report()
            for model in self.models if self.effort.sustained_s else []:
                self._sustain(model)
        except BudgetSpent:
            self.spent = True

    def _pilot(self, model: Measured) -> None:
        """One short block that tells how long an iteration takes; it enters no estimate."""
        done = self.runner.blocks(_PILOT, model.key)
        if not done:
            script = scripts.end_to_end(model.prepared.runnable, 0.05, self.affinity)
            done = [self.runner.execute(_PILOT, model.key, script, needed=True)]
        view = reading.end_to_end(done[0].payload["script"], done[0].payload["record"])
        model.latency_s = float(np.median(view.times_s))
        if getattr(self.runner.agent, "queues", False):
            # A far board's processes take long to start: one is then used for as long.
            record = done[0].payload["record"]
            starting = float(record["duration_s"]) - float(view.times_s.sum())
            self.least_s = max(self.least_s, min(_MOST_BLOCK_S, 1.5 * starting))
        self._look()

    def _first(self, model: Measured) -> None:
        """One block end to end, whatever the budget: a slow device must not end with nothing."""
        if not self.runner.blocks("end_to_end", model.key):
            script = scripts.end_to_end(model.prepared.runnable, model.latency_s, self.affinity)
            self.runner.execute("end_to_end", model.key, script, needed=True)

    def _sustain(self, model: Measured) -> None:
        """A long load in one process; the last thing, so that it heats nothing else."""
        if self.runner.blocks("sustained", model.key):
            return
        self.runner.progress(f"{model.prepared.graph.name} under load", 0.0, 0.0)
        script = scripts.sustained(
            model.prepared.runnable, self.effort.sustained_s, model.latency_s, self.affinity
        )
        self.runner.execute("sustained", model.key, script)

    def _round(self) -> list[tuple[str, str, dict[str, Any]]]:
        visits: list[tuple[str, str, dict[str, Any]]] = []
        for model in self.models:
            runnable, latency = model.prepared.runnable, model.latency_s
            if not model.end_to_end_done:
                script = scripts.end_to_end(runnable, latency, self.affinity, self.least_s)
                visits.append(("end_to_end", model.key, script))
            done = len(self.runner.blocks("in_context", model.key))
            if self.effort.kernels and done < self.effort.in_context_blocks:
                nodes = len(model.prepared.kernels)
                script = scripts.in_context(
                    runnable, self.chains, latency, nodes, self.affinity, self.least_s
                )
                visits.append(("in_context", model.key, script))
        return visits + self._isolated_visits()

    def _isolated_visits(self) -> list[tuple[str, str, dict[str, Any]]]:
        done = self.runner.blocks("isolated", VISITS)
        counts = dict.fromkeys(self.wanted, 0)
        for block in done:
            for step in block.payload["script"]["steps"]:
                if step["do"] == "profile" and step["session"] in counts:
                    counts[step["session"]] += 1
        open_keys = [key for key in self.wanted if counts[key] < ISOLATED_BLOCKS]
        if not open_keys:
            return []
        small = small_kernels(done, self.bench) if done else set()
        self.bench.add_copies(sorted(small))
        visit_s = max(scripts.VISIT_S, self.least_s / max(1, min(40, len(open_keys))))
        return [
            (
                "isolated",
                VISITS,
                scripts.isolated(kernels, slopes, self.chains, self.affinity, visit_s),
            )
            for kernels, slopes in self.bench.visits(open_keys, small, self.runner.rng)
        ]

    def _look(self) -> None:
        for model in self.models:
            # The blocks that the result will use: on a machine that is never quiet, all of
            # them, or measuring would go on until the budget is spent.
            blocks = unflagged(self.runner.blocks("end_to_end", model.key))
            medians = [b.log_median for b in blocks if b.log_median is not None]
            model.end_to_end_done = self.effort.once or model.rule.decide(medians) == "stop"

    def _report(self) -> None:
        """Device seconds spent and those still expected, for the progress line."""
        left = 0.0
        for model in self.models:
            per_block = 0.4 + 8 * model.latency_s
            if not model.end_to_end_done:
                done = len(self.runner.blocks("end_to_end", model.key))
                left += max(1, model.rule.next_look(done) - done) * per_block
            missing = self.effort.in_context_blocks - len(
                self.runner.blocks("in_context", model.key)
            )
            left += max(0, missing) * 2 * per_block if self.effort.kernels else 0.0
        left = min(left, max(0.0, self.runner.budget_s - self.runner.spent_s))
        names = ", ".join(m.prepared.graph.name for m in self.models if not m.end_to_end_done)
        self.runner.progress(names or "kernels", self.runner.spent_s, self.runner.spent_s + left)

    def alone(self) -> dict[str, Alone]:
        """What the isolated visits of this run say, by workload."""
        return alone(self.runner.blocks("isolated", VISITS), self.bench)

    def result(self, model: Measured, known: dict[str, Alone]) -> ModelResult:
        """The result of one model from its blocks."""
        end_to_end = self.runner.blocks("end_to_end", model.key)
        in_context = self.runner.blocks("in_context", model.key)
        sustained = self.runner.blocks("sustained", model.key)
        return model_result(model.prepared, end_to_end, in_context, known, sustained)


def measure(
    link: Link,
    models: Sequence[Any],
    settings: Settings,
    effort: Effort,
    store: Store,
    *,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> MeasurementResult:
    """Measures models on a device, and stores every block as soon as it is finished.

    Args:
        link: an open device.
        models: graphs already read (``prepare.read_model``).
        settings: how the models are run.
        effort: how long and how precisely.
        store: where blocks go; an unfinished run of the same request is resumed.
        seed: of the visiting order; drawn afresh when None.

    Raises:
        ModelError: the runtime refuses a model.
        RunError: the device failed.
    """
    started = time.monotonic()
    agent, threads = link.agent, link.threads(settings)
    context = link.context(settings, threads)
    prepared = [prepare(agent, graph, settings, threads) for graph in models]
    bench = Bench(agent, settings, threads)
    workloads = {k.workload.key: k.workload for p in prepared for k in p.kernels}
    meter = joules.meter_for(agent, settings, effort)
    request = {
        "kind": "measure", "context": context.key,
        "models": sorted(p.graph.sha256 for p in prepared),
        "arms": [effort.kernels, effort.isolated, effort.sustained_s],
        "tune_s": settings.tune_s,
        **({} if meter is None else {"energy": [meter.scope()["sensor"], *meter.labels]}),
    }  # fmt: skip
    store.put_device(link.stored_device())
    run = link.begin(store, "measure", request, context, fresh=effort.fresh)
    add_subjects(store, {p.graph.sha256: p.graph.name for p in prepared},
                 {key: w.description for key, w in workloads.items()})  # fmt: skip
    store.put_subject(Subject(VISITS, "chain", "kernels measured alone"))
    share = 1.0 if meter is None else joules.LATENCY_SHARE
    runner = Runner(agent, store, run, context, share * effort.budget_s, random.Random(seed),
                    progress, guard=guard_for(agent, link.device.board))  # fmt: skip
    runner.recall()
    campaign = Campaign(
        runner, effort, link.affinity,
        [Measured(p, StopRule(rel_ci=effort.rel_ci)) for p in prepared],
        bench, prepare_chains(agent, settings, threads),
    )  # fmt: skip
    # Loops for energy need this run's own look at each kernel alone.
    afresh = replace(effort, fresh=effort.fresh or meter is not None)
    known = _wanted(campaign, workloads, afresh, settings, store)
    campaign.measure()
    known |= campaign.alone()
    results = [campaign.result(model, known) for model in campaign.models]
    runner.budget_s = effort.budget_s
    subjects = [joules.Subject(m.prepared, m.latency_s) for m in campaign.models]
    results = joules.complete(
        results, subjects, runner, effort, meter, link.affinity, campaign.bench, campaign.chains
    )
    store_facts(store, runner, results, known)
    store.finish_run(run.run_id)
    return MeasurementResult(
        device=link.name,
        context=link.describe(context),
        started=run.started_utc,
        duration_s=time.monotonic() - started,
        models=tuple(results),
        workloads={key: w.description for key, w in workloads.items()},
        run_id=run.run_id,
    )


def _wanted(
    campaign: Campaign,
    workloads: dict[str, Workload],
    effort: Effort,
    settings: Settings,
    store: Store,
) -> dict[str, Alone]:
    """Decides which workloads to measure alone; returns what the store knows well already."""
    if not (effort.kernels and effort.isolated) or settings.runtime != "onnxruntime":
        return {}
    known = {} if effort.fresh else _known(store, list(workloads), campaign.runner.context.key)
    missing = {key: w for key, w in workloads.items() if key not in known}
    campaign.bench.add(missing.values())
    campaign.wanted = [key for key in missing if key in campaign.bench.singles]
    return known


def _known(store: Store, keys: list[str], context: str) -> dict[str, Alone]:
    out = {}
    for key, facts in store.lookup(keys, context).items():
        fact = facts.get("isolated_latency_s")
        if fact is None:
            continue
        estimate = fact.estimate()
        if estimate.at_most or estimate.relative_half_width <= _PRECISE:
            # A bound does not say how much the kernel takes: sums use its profile then.
            slope = estimate.n is None and not estimate.at_most
            method = "slope" if slope else "profile"
            out[key] = Alone(estimate, method, estimate.value)
    return out


def store_facts(
    store: Store, runner: Runner, results: Sequence[ModelResult], known: dict[str, Alone]
) -> None:
    """Puts what a run says of models, kernels and the runtime's overhead into the table."""
    run, context = runner.run.run_id, runner.context.key

    def fact(subject: str, quantity: str, estimate: Estimate) -> Fact:
        return Fact.of(estimate, run_id=run, context=context, subject=subject, quantity=quantity)

    facts = [fact(key, "isolated_latency_s", entry.latency_s) for key, entry in known.items()]
    in_context: dict[str, list[Estimate]] = {}
    for result in results:
        quantities = {"latency_s": result.latency_s, "gap_s": result.gap_s,
                      "peak_memory_bytes": result.peak_memory_bytes,
                      **result.energy.quantities()}  # fmt: skip
        facts += [fact(result.sha256, name, e) for name, e in quantities.items() if e is not None]
        if result.kernels:
            kernels = [kernel.to_json() for kernel in result.kernels]
            made = {"kernels": kernels, "arena_bytes": result.arena_bytes}
            store.put_kernels(result.sha256, context, made)
        for kernel in result.kernels:
            if kernel.workload:
                in_context.setdefault(kernel.workload, []).append(kernel.latency_s)
            facts += [fact(kernel.workload, name, e) for name, e in kernel.joules().items()]
    facts += [fact(key, "latency_s", pooled(found)) for key, found in in_context.items()]
    overheads = overhead_estimates(runner.done)
    if overheads:
        store.put_subject(Subject(OVERHEAD, "chain", "cost of a call and of the gap"))
        facts += [fact(OVERHEAD, name, estimate) for name, estimate in overheads.items()]
    store.put_facts(facts)


def pooled(found: Sequence[Estimate]) -> Estimate:
    """One estimate for a workload that occurs several times: the mean of its occurrences.

    They come from the same processes, so their half-widths are averaged, not shrunk. Where
    an occurrence is only known as "at most", so is the mean.
    """
    if len(found) == 1:
        return found[0]
    bound = max(e.high for e in found)
    # One block alone bounds nothing: then there is no bound to be at most of.
    if any(e.at_most for e in found) and math.isfinite(bound):
        return Estimate(bound, 0.0, bound, blocks=found[0].blocks, at_most=True)
    value, low, high = (
        sum(getattr(e, name) for e in found) / len(found) for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, blocks=found[0].blocks, n=found[0].n)
