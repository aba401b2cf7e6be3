"""The audit: applies, prices, measures and judges every transform of a model on a device."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lwprof.compression.audit.bench import Bench
from lwprof.compression.audit.candidates import Candidate, apply_all
from lwprof.compression.audit.chaining import Expecting, search
from lwprof.compression.audit.pricing import Pricing, open_pricing
from lwprof.compression.audit.result import MAX_ERROR, AuditResult, Chain, Line
from lwprof.compression.audit.rounds import Outcome
from lwprof.compression.running import Feed, random_feeds
from lwprof.compression.transform import Given, Transform
from lwprof.errors import UsageError
from lwprof.profiler.graph import Graph
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.runner import Progress
from lwprof.profiler.store import open_store

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
        max_error: of the outputs; what moves them further is not recommended.
        budget_s: device seconds.
        fresh: do not resume an interrupted audit.
    """

    transforms: tuple[Transform, ...]
    given: Given
    feeds: tuple[Feed, ...] = ()
    latency_s: float | None = None
    substitutes: bool = False
    max_error: float = MAX_ERROR
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
        bench = Bench(link, settings, threads, database, wanted.budget_s, wanted.fresh,
                      wanted.seed, progress)  # fmt: skip
        return _measured(graph, wanted, bench, pricing, lines, data, started)


def _applied(
    graph: Graph, wanted: Wanted, pricing: Pricing, progress: Progress
) -> tuple[list[Line], list[Feed]]:
    """Every transform applied and priced; the data that outputs were compared on."""
    data = list(wanted.feeds or wanted.given.data)
    data = data or list(random_feeds(graph, 2, wanted.given.seed))

    def tell(name: str, place: int, count: int) -> None:
        progress(f"applying {name}", float(place), float(count))

    found = apply_all(graph, wanted.transforms, wanted.given, data, tell, pricing.seconds())
    return [
        Line(c, pricing.latency(c.graph) if c.graph else None, None, wanted.max_error)
        for c in found
    ], data


def _predicted(
    graph: Graph, device: str, wanted: Wanted, pricing: Pricing, lines: Sequence[Line],
    data: list[Feed], started: float,
) -> AuditResult:  # fmt: skip
    baseline = pricing.latency(graph)
    chain = None
    if wanted.latency_s is not None:
        start = None if baseline is None else baseline.value
        found = _chain(graph, wanted, data, pricing, start, {})
        chain = found and found[0]
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
) -> tuple[Chain, Graph] | None:  # fmt: skip
    """The chain that meets the limit, as the cost model says, and its model as it was read."""
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
    chain = Chain(steps.ids, wanted.latency_s, expected, None, meets, steps.output_error,
                  steps.graph.proto)  # fmt: skip
    return chain, steps.graph


def _measured(
    graph: Graph, wanted: Wanted, bench: Bench, pricing: Pricing, lines: Sequence[Line],
    data: list[Feed], started: float,
) -> AuditResult:  # fmt: skip
    """All variants against the original, then the chain, if one was asked for."""
    graphs = {line.candidate.id: line.candidate.graph for line in lines}
    found = bench.compare(graph, {name: g for name, g in graphs.items() if g is not None})
    lines = [_with(line, found.outcomes, found.refused) for line in lines]
    chain = None
    if wanted.latency_s is not None and found.baseline_s is not None:
        ratios = {name: outcome.ratio.value for name, outcome in found.outcomes.items()}
        proposed = _chain(graph, wanted, data, pricing, found.baseline_s.value, ratios)
        chain = proposed and _measured_chain(graph, bench, *proposed)
    context = bench.link.context(bench.settings, bench.threads)
    return AuditResult(
        bench.link.name, bench.link.describe(context), graph, tuple(lines), found.baseline_s,
        pricing.latency(graph), found.rounds, found.flags, _kind(wanted), _why(pricing),
        time.monotonic() - started, chain,
    )  # fmt: skip


def _with(line: Line, outcomes: Mapping[str, Outcome], refused: Mapping[str, str]) -> Line:
    """A line with what was measured; a refusal on the device becomes its reason."""
    name = line.candidate.id
    if name in refused:
        return replace(line, candidate=_refused(line.candidate, refused[name]))
    return replace(line, outcome=outcomes.get(name))


def _measured_chain(graph: Graph, bench: Bench, chain: Chain, variant: Graph) -> Chain:
    """The chain's model against the original, in rounds of its own."""
    if not chain.steps:
        # The original, timed once more: whether it meets the limit was decided by a prediction.
        latency = bench.compare(graph, {}, CHAIN).baseline_s
    else:
        found = bench.compare(graph, {CHAIN: variant}, CHAIN)
        latency = found.outcomes[CHAIN].latency_s if CHAIN in found.outcomes else None
    meets = chain.meets if latency is None else latency.high <= chain.limit_s
    return replace(chain, latency_s=latency, meets=meets)


def _refused(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, graph=None, reason=f"the device refuses it: {reason}")
