"""Two models, or one in two settings, measured interleaved until a verdict stands."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lwprof.profiler.graph import Graph
from lwprof.profiler.session import blocks as reading
from lwprof.profiler.session import energy as joules
from lwprof.profiler.session import energy_gate, scripts
from lwprof.profiler.session.energy_result import ModelEnergy
from lwprof.profiler.session.guard import guard_for
from lwprof.profiler.session.link import Link
from lwprof.profiler.session.options import Effort, Settings
from lwprof.profiler.session.prepare import Prepared, prepare
from lwprof.profiler.session.runner import BudgetSpent, Progress, Runner, add_subjects
from lwprof.profiler.statistics import (
    Comparison,
    Estimate,
    PairedDesign,
    compare_log_ratios,
    fitness,
    gate,
    latency_interval,
    mean_interval,
)
from lwprof.profiler.store import Block, Store

SCHEMA = "lwprof.comparison/1"
_PILOT = "pilot"
_PAIR = "pair"


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison: a model and how it is run."""

    graph: Graph
    settings: Settings


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """What a comparison found.

    Attributes:
        verdict: "same", "different" or "unfit"; ``reason`` says why where unfit.
        ratio: latency of B over A.
        energy_ratio: joules of B over A; measured where a gate asks for it.
        energy: of each arm then, with its scope.
        memory_ratio: peak memory of B over A; None where the device does not tell.
        margin: half-width of the band that counts as the same, as a fraction.
        minimum_detectable_effect: smallest relative change that this many pairs at this
            spread would have found 9 times in 10.
        a, b: name, sha256, context and latency of each arm.
        gates: by quantity, "pass", "fail" or "undecided", with the limit asked for.
    """

    verdict: str
    reason: str | None
    ratio: Estimate
    memory_ratio: Estimate | None
    margin: float
    minimum_detectable_effect: float | None
    p_value: float | None
    pairs: int
    flags: tuple[str, ...]
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    gates: Mapping[str, Mapping[str, Any]]
    device: str
    duration_s: float
    energy_ratio: Estimate | None = None
    energy: tuple[Mapping[str, Any], ...] = ()

    @property
    def gate(self) -> str | None:
        """The worst of the gates: fail over undecided over pass; None when none was asked for."""
        found = {entry["outcome"] for entry in self.gates.values()}
        return next((o for o in ("fail", "undecided", "pass") if o in found), None)

    def to_json(self) -> dict[str, Any]:
        """``lwprof.comparison/1``."""
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "device": self.device,
            "verdict": self.verdict,
            "reason": self.reason,
            "ratio": self.ratio.to_json(),
            "ratios": {
                "latency_s": self.ratio.to_json(),
                "energy_j": self.energy_ratio and self.energy_ratio.to_json(),
                "peak_memory_bytes": self.memory_ratio and self.memory_ratio.to_json(),
            },
            "margin": self.margin,
            "minimum_detectable_effect": self.minimum_detectable_effect,
            "p_value": self.p_value,
            "pairs": self.pairs,
            "flags": list(self.flags),
            "a": dict(self.a),
            "b": dict(self.b),
            "duration_s": self.duration_s,
        }
        if self.energy:
            out["a"] |= self.energy[0]
            out["b"] |= self.energy[1]
        if self.gates:
            out["gate"] = {"outcome": self.gate, **{k: dict(v) for k, v in self.gates.items()}}
        return out


def compare(
    link: Link,
    a: Arm,
    b: Arm,
    effort: Effort,
    store: Store,
    *,
    margin: float = 0.03,
    gates: Mapping[str, float] | None = None,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> ComparisonResult:
    """Measures A and B in pairs of fresh processes, alternating, until a verdict stands.

    Args:
        margin: how far the ratio may lie from 1 and still count as the same.
        gates: by quantity ("latency", "energy"), the relative increase that is allowed.

    Raises:
        UsageError: a gate on energy where the device has no sensor.
    """
    meter = None
    if gates and "energy" in gates:
        meter = joules.meter_for(link.agent, a.settings, replace(effort, energy=True))
    started = time.monotonic()
    arms = (a, b)
    prepared = [prepare(link.agent, arm.graph, arm.settings, link.threads(arm.settings))
                for arm in arms]  # fmt: skip
    contexts = [link.context(arm.settings, link.threads(arm.settings)) for arm in arms]
    request = {"kind": "compare", "models": [p.graph.sha256 for p in prepared],
               "contexts": [c.key for c in contexts], "margin": margin,
               **({} if meter is None else {"energy": meter.scope()["rails"]})}  # fmt: skip
    store.put_device(link.stored_device())
    store.put_context(contexts[1])
    run = link.begin(store, "compare", request, contexts[0], fresh=effort.fresh)
    add_subjects(store, {p.graph.sha256: p.graph.name for p in prepared}, {})
    share = 1.0 if meter is None else joules.LATENCY_SHARE
    runner = Runner(link.agent, store, run, contexts[0], share * effort.budget_s,
                    random.Random(seed), progress,
                    guard=guard_for(link.agent, link.device.board))  # fmt: skip
    runner.recall()
    comparison = _measure_pairs(runner, prepared, link, margin)
    pairs = runner.blocks(_PAIR, prepared[0].graph.sha256)
    energies: list[ModelEnergy] = []
    if meter is not None:
        runner.budget_s = effort.budget_s
        energies = energy_gate.both(runner, meter, link.affinity, [
            (p.graph.name, p.graph.sha256, p.runnable, seconds)
            for p, seconds in zip(prepared, _pilots(runner, prepared, link), strict=True)
        ])  # fmt: skip
    energy_ratio = energy_gate.ratio_of(*energies) if energies else None
    store.finish_run(run.run_id)
    sides = [_side(p, c, pairs, index) for index, (p, c) in
             enumerate(zip(prepared, contexts, strict=True))]  # fmt: skip
    return ComparisonResult(
        verdict=comparison.verdict or "unfit",
        reason=comparison.reason,
        ratio=comparison.ratio,
        memory_ratio=_memory_ratio(pairs),
        margin=margin,
        minimum_detectable_effect=comparison.minimum_detectable_effect,
        p_value=comparison.p_value,
        pairs=len(pairs),
        flags=tuple(sorted({flag for block in pairs for flag in block.flags})),
        a=sides[0],
        b=sides[1],
        gates=decide_gates(comparison.ratio, gates or {}, energy_ratio),
        device=link.name,
        duration_s=time.monotonic() - started,
        energy_ratio=energy_ratio,
        energy=tuple(found.to_json() for found in energies),
    )


def decide_gates(
    ratio: Estimate, gates: Mapping[str, float], energy: Estimate | None = None
) -> dict[str, dict[str, Any]]:
    """The outcome of each gate: fails only when the whole interval lies beyond it.

    Args:
        ratio: of latency; ``energy``: of energy, None where it could not be measured, which
            leaves its gate undecided.
    """
    found = {}
    for name, limit in gates.items():
        seen = energy if name == "energy" else ratio
        outcome = "undecided" if seen is None else gate(seen, limit)
        found[name] = {"limit": 1 + limit, "outcome": outcome}
    return found


def _measure_pairs(
    runner: Runner, prepared: list[Prepared], link: Link, margin: float
) -> Comparison:
    subject = prepared[0].graph.sha256
    design = PairedDesign()
    try:
        latencies = _pilots(runner, prepared, link)
        while True:
            ratios = [_log_ratio(block) for block in runner.blocks(_PAIR, subject)]
            if len(ratios) >= 2 and design.is_look(len(ratios)):
                last = design.next_look(len(ratios)) is None
                found = compare_log_ratios(ratios, margin=margin, final=last)
                if found.verdict is not None:
                    return _explain(found, runner.blocks(_PAIR, subject))
            script = scripts.pair(
                prepared[0].runnable, prepared[1].runnable, latencies, link.affinity,
                a_first=runner.rng.random() < 0.5,
            )  # fmt: skip
            # Two pairs are the least that has an interval: they run whatever the budget.
            runner.execute(_PAIR, subject, script, needed=len(ratios) < 2)
            target = design.next_look(len(ratios)) or len(ratios)
            expected = runner.spent_s / (len(ratios) + 1) * target
            runner.progress(f"pair {len(ratios) + 1} of {target}", runner.spent_s, expected)
    except BudgetSpent:
        ratios = [_log_ratio(block) for block in runner.blocks(_PAIR, subject)]
        found = compare_log_ratios(ratios, margin=margin, final=True)
        return _explain(found, runner.blocks(_PAIR, subject))


def _explain(found: Comparison, pairs: list[Block]) -> Comparison:
    """An unfit verdict says whether the machine or the effect is to blame."""
    if found.verdict != "unfit":
        return found
    _, reason = fitness([block.flags for block in pairs])
    return found if reason is None else found.with_reason(reason)


def _pilots(runner: Runner, prepared: list[Prepared], link: Link) -> tuple[float, float]:
    """A rough latency of each arm, which sets the length of its slices."""
    done = [block for block in runner.done if block.arm == _PILOT]
    for model in prepared[len(done) :]:
        script = scripts.end_to_end(model.runnable, 0.05, link.affinity)
        done.append(runner.execute(_PILOT, model.graph.sha256, script, needed=True))
    medians = [
        float(np.median(reading.end_to_end(b.payload["script"], b.payload["record"]).times_s))
        for b in done
    ]
    return medians[0], medians[1]


def _log_ratio(block: Block) -> float:
    return reading.pair_log_ratio(block.payload["script"], block.payload["record"])


def _side(prepared: Prepared, context: Any, pairs: list[Block], index: int) -> dict[str, Any]:
    medians = [
        reading.pair_medians_s(b.payload["script"], b.payload["record"])[index] for b in pairs
    ]
    return {
        "name": prepared.graph.name,
        "sha256": prepared.graph.sha256,
        "context": context.to_json(),
        "latency_s": latency_interval(medians).to_json(),
    }


def _memory_ratio(pairs: list[Block]) -> Estimate | None:
    ratios = []
    for block in pairs:
        used = []
        for worker in block.payload["record"].get("workers", ()):
            start, peak = worker.get("rss_start_bytes"), worker.get("rss_peak_bytes")
            if start is None or peak is None or peak <= start:
                return None
            used.append(peak - start)
        if len(used) != 2:
            return None
        ratios.append(used[1] / used[0])
    return mean_interval(np.asarray(ratios, dtype=np.float64)) if ratios else None
