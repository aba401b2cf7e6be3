"""The audit: applies, prices, measures and judges every transform of a model on a device."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lwprof.compression.audit import rounds
from lwprof.compression.audit.candidates import Candidate, apply_all
from lwprof.compression.audit.chaining import Expecting, search
from lwprof.compression.audit.pricing import Pricing, open_pricing
from lwprof.compression.audit.result import AuditResult, Chain, Line
from lwprof.compression.running import Feed, random_feeds
from lwprof.compression.transform import Given, Transform
from lwprof.errors import ModelError, UsageError
from lwprof.profiler.graph import Graph
from lwprof.profiler.session.link import Link, open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare
from lwprof.profiler.session.runner import Progress, Runner, add_subjects
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import Estimate, latency_interval
from lwprof.profiler.store import Store, open_store

CHAIN = "chain"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an audit is asked for.

    Attributes:
        transforms: to try.
        given: data, error bound and share of work for them.
        feeds: on which outputs are compared; empty: calibration data, else random.
        latency_s: limit for a chain; None for no chain.
        substitutes: whether the chain may use transforms that need training.
        budget_s: device seconds.
        fresh: do not resume an interrupted audit.
    """

    transforms: tuple[Transform, ...]
    given: Given
    feeds: tuple[Feed, ...] = ()
    latency_s: float | None = None
    substitutes: bool = False
    budget_s: float = 180.0
    fresh: bool = False
    seed: int | None = None


def audit(
    graph: Graph,
    device: str,
    settings: Settings,
    wanted: Wanted,
    *,
    store: str | None = None,
    predict_only: bool = False,
    progress: Progress = lambda *_: None,
) -> AuditResult:
    """Applies every transform to a model and says which pays on a device.

    Args:
        graph: the model as ``prepare.read_model`` gives it.
        predict_only: touch no device; the cost model alone answers.

    Raises:
        UsageError: ``predict_only`` without any cost model of the device.
        RunError: the device failed.
    """
    started = time.monotonic()
    choice = {"runtime": settings.runtime, "threads": settings.threads}
    known = {k: v for k, v in choice.items() if v is not None}
    if predict_only:
        pricing = open_pricing(device, known, store)
        if pricing.model is None:
            raise UsageError(f"there is nothing to predict from: {pricing.reason}")
        lines, data = _applied(graph, wanted, pricing, progress)
        return _predicted(graph, device, wanted, pricing, lines, data, started)
    with open_store(store) as database, open_device(device, settings.runtime) as link:
        threads = link.threads(settings)
        pricing = open_pricing(device, {**known, "threads": threads}, store)
        lines, data = _applied(graph, wanted, pricing, progress)
        bench = _Bench(link, settings, threads, database, wanted, progress)
        return bench.run(graph, lines, data, pricing, started)


def _applied(
    graph: Graph, wanted: Wanted, pricing: Pricing, progress: Progress
) -> tuple[list[Line], list[Feed]]:
    """Every transform applied and priced; the data that outputs were compared on."""
    data = list(wanted.feeds or wanted.given.data)
    data = data or list(random_feeds(graph, 2, wanted.given.seed))

    def tell(name: str, place: int, count: int) -> None:
        progress(f"applying {name}", float(place), float(count))

    found = apply_all(graph, wanted.transforms, wanted.given, data, tell, pricing.seconds())
    return [Line(c, pricing.latency(c.graph) if c.graph else None) for c in found], data


def _predicted(
    graph: Graph, device: str, wanted: Wanted, pricing: Pricing, lines: Sequence[Line],
    data: list[Feed], started: float,
) -> AuditResult:  # fmt: skip
    baseline = pricing.latency(graph)
    chain = None
    if wanted.latency_s is not None:
        start = None if baseline is None else baseline.value
        chain = _chain(graph, wanted, data, pricing, start, {})
    model = pricing.model
    context = model.context.to_json() if model is not None else {}
    return AuditResult(
        device, context, graph, tuple(lines), None, baseline, 0, (), _kind(wanted),
        _why(pricing), time.monotonic() - started, chain,
    )  # fmt: skip


def _kind(wanted: Wanted) -> str:
    return "calibration" if wanted.feeds or wanted.given.data else "random"


def _why(pricing: Pricing) -> str | None:
    """Why predictions are missing, where any is."""
    return pricing.reason or next(iter(pricing.missed.values()), None)


def _chain(
    graph: Graph, wanted: Wanted, data: Sequence[Feed], pricing: Pricing,
    start_s: float | None, ratios: Mapping[str, float],
) -> Chain | None:  # fmt: skip
    assert wanted.latency_s is not None
    if start_s is None:
        return None
    allowed = [t for t in wanted.transforms
               if wanted.substitutes or t.equivalence != "substituted"]  # fmt: skip

    def price(variant: Graph) -> float | None:
        estimate = pricing.latency(variant)
        return None if estimate is None else estimate.value

    # Predictions of steps are compared with a prediction of the start, not with a measurement.
    predicted = price(graph)
    start = predicted if predicted is not None else start_s
    steps = search(graph, allowed, wanted.given, data, wanted.latency_s,
                   Expecting(price, ratios, start))  # fmt: skip
    expected = pricing.latency(steps.graph)
    meets = None if steps.latency_s is None else steps.latency_s <= wanted.latency_s
    return Chain(steps.ids, wanted.latency_s, expected, None, meets, steps.output_error,
                 steps.graph)  # fmt: skip


class _Bench:
    """One audit's measuring on an open device."""

    def __init__(
        self, link: Link, settings: Settings, threads: int, store: Store, wanted: Wanted,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.link, self.settings, self.threads = link, settings, threads
        self.store, self.wanted, self.progress = store, wanted, progress
        self.context = link.context(settings, threads)

    def run(
        self, graph: Graph, lines: list[Line], data: list[Feed], pricing: Pricing, started: float
    ) -> AuditResult:
        """Measures all variants, then the chain, if one was asked for."""
        control = self._runnable(graph)
        variants, lines = self._variants(lines)
        runner = self._runner(graph, variants, None)
        found = rounds.measure(runner, graph.sha256, control, variants, self.link.affinity)
        lines = [replace(line, outcome=found.get(line.candidate.id)) for line in lines]
        blocks = runner.blocks(rounds.ARM, graph.sha256)
        self.store.finish_run(runner.run.run_id)
        logs = rounds.control_logs(blocks)
        base = latency_interval(_seconds(logs)) if logs else self._alone(graph, control)
        chain = None
        if self.wanted.latency_s is not None:
            ratios = {name: outcome.ratio.value for name, outcome in found.items()}
            chain = _chain(graph, self.wanted, data, pricing, base.value, ratios)
            chain = chain and self._measured(graph, control, chain)
        flags = tuple(sorted({flag for block in blocks for flag in block.flags}))
        return AuditResult(
            self.link.name, self.link.describe(self.context), graph, tuple(lines), base,
            pricing.latency(graph), len(blocks), flags, _kind(self.wanted), _why(pricing),
            time.monotonic() - started, chain,
        )  # fmt: skip

    def _runnable(self, graph: Graph) -> Runnable:
        return prepare(self.link.agent, graph, self.settings, self.threads).runnable

    def _variants(self, lines: list[Line]) -> tuple[dict[str, Runnable], list[Line]]:
        """What can be loaded on the device; a refusal there becomes the line's reason."""
        variants: dict[str, Runnable] = {}
        out = []
        for line in lines:
            graph = line.candidate.graph
            if graph is not None:
                try:
                    variants[line.candidate.id] = self._runnable(graph)
                except ModelError as error:
                    line = replace(line, candidate=_refused(line.candidate, str(error)))
            out.append(line)
        return variants, out

    def _runner(self, graph: Graph, variants: Mapping[str, Runnable], extra: str | None) -> Runner:
        request = {
            "kind": "audit", "model": graph.sha256, "context": self.context.key,
            "variants": {name: model.blob for name, model in sorted(variants.items())},
            "part": extra,
        }  # fmt: skip
        self.store.put_device(self.link.stored_device())
        run = self.link.begin(self.store, "audit", request, self.context, fresh=self.wanted.fresh)
        add_subjects(self.store, {graph.sha256: graph.name}, {})
        runner = Runner(self.link.agent, self.store, run, self.context, self.wanted.budget_s,
                        random.Random(self.wanted.seed), self.progress)  # fmt: skip
        runner.recall()
        return runner

    def _alone(self, graph: Graph, control: Runnable) -> Estimate:
        """The original's latency where no variant was there to be compared with it."""
        runner = self._runner(graph, {"control_again": control}, "alone")
        rounds.measure(runner, graph.sha256, control, {"control_again": control},
                       self.link.affinity)  # fmt: skip
        logs = rounds.control_logs(runner.blocks(rounds.ARM, graph.sha256))
        self.store.finish_run(runner.run.run_id)
        return latency_interval(_seconds(logs))

    def _measured(self, graph: Graph, control: Runnable, chain: Chain) -> Chain:
        """The chain's model against the original, in rounds of its own."""
        if not chain.steps:
            return replace(chain, model=graph.proto)
        variants = {CHAIN: self._runnable(chain.model)}
        runner = self._runner(graph, variants, CHAIN)
        found = rounds.measure(runner, graph.sha256, control, variants, self.link.affinity)
        self.store.finish_run(runner.run.run_id)
        latency = found[CHAIN].latency_s if CHAIN in found else None
        meets = chain.meets if latency is None else latency.high <= chain.limit_s
        return replace(chain, latency_s=latency, meets=meets, model=chain.model.proto)


def _seconds(logs: Sequence[float]) -> list[float]:
    return [math.exp(x) for x in logs]


def _refused(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, graph=None, reason=f"the device refuses it: {reason}")
