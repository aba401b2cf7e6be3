"""A device's table from whole networks: many of them, each in a few processes.

A profiled network tells the times of all its kernels at once, in the company in which they are
used; kernels visited alone take as long to start as to measure, and find their inputs in the
caches. What one process is off by, since the machine was faster or slower just then, averages out
over the networks that share a kind of kernel; fits take it into account.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from lwprof.errors import ModelError
from lwprof.profiler.graph import Graph
from lwprof.profiler.kernels import Workload
from lwprof.profiler.session.guard import guard_for
from lwprof.profiler.session.isolated import Bench
from lwprof.profiler.session.link import Link
from lwprof.profiler.session.measure import Campaign, Measured, pooled, store_facts
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import Prepared, prepare, prepare_chains, workload_cost
from lwprof.profiler.session.result import KernelResult, MeasurementResult, ModelResult
from lwprof.profiler.session.runner import Progress, Runner, add_subjects
from lwprof.profiler.statistics import StopRule
from lwprof.profiler.store import Store

BLOCKS = 4
"""Processes of each network: enough to see a bad one; more networks tell more than more blocks."""

Choose = Callable[[Mapping[str, ModelResult], Mapping[str, Workload]], Sequence[str]]
"""The next networks by name, given the results so far and the workloads in them by key; none when
there is nothing left to learn."""


def survey(
    link: Link,
    choose: Choose,
    read: Callable[[str], Graph],
    settings: Settings,
    effort: Effort,
    store: Store,
    *,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> MeasurementResult:
    """Measures networks, batch after batch, until the budget is spent or none is left.

    The table is brought up to date after every batch, and an interrupted survey goes on where it
    stopped.

    Args:
        choose: names the next batch.
        read: gives the graph of a name.

    Raises:
        RunError: the device failed.
    """
    started = time.monotonic()
    effort = replace(effort, once=True, isolated=False, in_context_blocks=BLOCKS)
    agent, threads = link.agent, link.threads(settings)
    context = link.context(settings, threads)
    store.put_device(link.stored_device())
    request = {"kind": "survey", "context": context.key, "blocks": effort.in_context_blocks}
    run = link.begin(store, "campaign", request, context, fresh=effort.fresh)
    runner = Runner(agent, store, run, context, effort.budget_s, random.Random(seed), progress,
                    guard=guard_for(agent, link.device.board))  # fmt: skip
    runner.recall()
    chains = prepare_chains(agent, settings, threads)
    results: dict[str, ModelResult] = {}
    workloads: dict[str, Workload] = {}
    asked: set[str] = set()
    spent = False
    earlier = _earlier(store, runner)
    while not spent:
        names = earlier or [name for name in choose(results, workloads) if name not in asked]
        earlier = []
        if not names:
            break
        asked |= set(names)
        batch = [p for p in (_prepared(link, read, n, settings, threads) for n in names) if p]
        for one in batch:
            fresh = {kernel.workload.key: kernel.workload for kernel in one.kernels}
            add_subjects(store, {one.graph.sha256: one.graph.name},
                         {key: w.description for key, w in fresh.items()})  # fmt: skip
            workloads |= fresh
        campaign = Campaign(
            runner, effort, link.affinity, [Measured(p, StopRule(rel_ci=0.5)) for p in batch],
            Bench(agent, settings, threads), chains,
        )  # fmt: skip
        campaign.measure()
        spent = campaign.spent
        results |= {
            m.prepared.graph.name: campaign.result(m, {})
            for m in campaign.models if runner.blocks("in_context", m.key)
        }  # fmt: skip
        store_facts(store, runner, list(results.values()), {})
    if not spent:
        store.finish_run(run.run_id)
    return MeasurementResult(
        device=link.name,
        context=link.describe(context),
        started=run.started_utc,
        duration_s=time.monotonic() - started,
        models=(),
        workloads={key: w.description for key, w in workloads.items()},
        kernels=_table(results.values(), workloads),
        run_id=run.run_id,
    )


def _earlier(store: Store, runner: Runner) -> list[str]:
    """Networks that an interrupted survey has begun, by name."""
    keys = dict.fromkeys(b.subject for b in runner.done if b.arm == "in_context")
    found = [store.subject(key) for key in keys]
    return [subject.name for subject in found if subject is not None]


def _prepared(
    link: Link, read: Callable[[str], Graph], name: str, settings: Settings, threads: int
) -> Prepared | None:
    """The network on the device; None where its runtime cannot run it: others can teach as well."""
    try:
        return prepare(link.agent, read(name), settings, threads)
    except ModelError:
        return None


def _table(
    results: Iterable[ModelResult], workloads: Mapping[str, Workload]
) -> tuple[KernelResult, ...]:
    """One row for each workload, the mean of its occurrences."""
    found: dict[str, list[KernelResult]] = {}
    for result in results:
        for kernel in result.kernels:
            if kernel.workload:
                found.setdefault(kernel.workload, []).append(kernel)
    rows = []
    for key, kernels in found.items():
        macs, moved = workload_cost(workloads[key])
        rows.append(
            KernelResult(
                workload=key, operators=workloads[key].op_types, nodes=(), count=len(kernels),
                macs=macs, bytes=moved, latency_s=pooled([k.latency_s for k in kernels]),
                isolated_latency_s=None, provider=kernels[0].provider,
            )
        )  # fmt: skip
    return tuple(rows)
