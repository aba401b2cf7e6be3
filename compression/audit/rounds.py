"""Variants of a model against the original, in rounds with a shared control.

A round is one fresh process, the unit of every interval. It loads the original once and
visits the variants in random order; at each visit slices of original and variant alternate
(ABBA), which gives one log ratio, so that a drift of the machine cancels. Variants that are
decided at a look leave the later rounds. The verdicts of all variants together keep the
chance of any false difference below 5 % (Holm), at whichever look they were taken.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.errors import DeviceError
from lwprof.profiler.session.runner import BudgetSpent, Runner
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import (
    Estimate,
    PairedDesign,
    compare_log_ratios,
    holm,
    latency_interval,
)
from lwprof.profiler.statistics.serial import mean_error
from lwprof.profiler.store import Block

ARM = "audit_round"
DESIGN = PairedDesign(looks=(6, 10, 16, 24))
"""At how many rounds the data are looked at: four looks, as the thresholds assume."""
FALSE_DIFFERENCE = 0.008
"""Of all variants together at one look; four looks stay under 5 %."""
_CONTROL = "control"
_SLICES = 4
_SLICE_S = 0.012
_LARGE = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rounds say of one variant.

    Attributes:
        ratio: latency of the variant over the original's, at its own level (0.95).
        corrected: the interval of the ratio at the level that Holm's correction leaves it.
        latency_s: of the variant: the ratio times the original's latency.
        p_value: Holm-adjusted, of equal latency.
        verdict: "faster", "slower", "same" or "undecided".
    """

    ratio: Estimate
    corrected: Estimate
    latency_s: Estimate
    p_value: float
    verdict: str
    rounds: int


def script(
    control: Runnable,
    variants: Sequence[tuple[str, Runnable]],
    affinity: Sequence[int],
    control_s: float,
) -> dict[str, Any]:
    """One round, variants in the order given."""
    steps: list[dict[str, Any]] = [_load(_CONTROL, control), _warm([_CONTROL], control_s)]
    for name, model in variants:
        steps += [
            _load(name, model), _warm([name], control_s),
            {"do": "time", "worker": 0, "sessions": [_CONTROL, name], "slices": _SLICES,
             "n": None, "slice_s": _SLICE_S, "order": "abba", "max_s": 120.0},
            {"do": "unload", "worker": 0, "session": name},
        ]  # fmt: skip
    worker: dict[str, Any] = {"affinity": list(affinity) or None, "nice": None, "env": {}}
    return {"id": uuid.uuid4().hex, "workers": [worker], "steps": steps}


def _load(session: str, model: Runnable) -> dict[str, Any]:
    return {"do": "load", "worker": 0, "session": session, "model": model.blob,
            "options": {**model.options, "profile": False},
            "inputs": list(model.inputs)}  # fmt: skip


def _warm(sessions: list[str], latency_s: float) -> dict[str, Any]:
    return {"do": "warm", "worker": 0, "sessions": sessions, "min_n": 3, "min_s": 0.02,
            "max_s": max(2.0, 20 * latency_s)}  # fmt: skip


def log_ratios(blocks: Sequence[Block]) -> dict[str, list[float]]:
    """log(variant / original) of every visit, by variant, in the order of the rounds."""
    found: dict[str, list[float]] = {}
    for block in blocks:
        for name, control, variant in _visits(block):
            found.setdefault(name, []).append(_paired(control, variant))
    return found


def control_logs(blocks: Sequence[Block]) -> list[float]:
    """log of the original's median seconds in each round, over all its slices."""
    out = []
    for block in blocks:
        times = [t for _, control, _ in _visits(block) for part in control for t in part]
        if times:
            out.append(float(np.log(np.median(times) * 1e-9)))
    return out


def _visits(block: Block) -> list[tuple[str, list[list[int]], list[list[int]]]]:
    steps, results = block.payload["script"]["steps"], block.payload["record"]["steps"]
    if len(steps) != len(results):
        raise DeviceError(
            f"the device answered {len(results)} of {len(steps)} steps of a round; audit again"
        )
    return [
        (step["sessions"][1], result["times_ns"][_CONTROL], result["times_ns"][step["sessions"][1]])
        for step, result in zip(steps, results, strict=True)
        if step["do"] == "time"
    ]


def _paired(control: list[list[int]], variant: list[list[int]]) -> float:
    """The mean log ratio over whole ABBA pairs of slices."""
    a, b = (np.array([np.log(np.median(part)) for part in side]) for side in (control, variant))
    whole = max(1, min(len(a), len(b)) // 2 * 2)
    return float((b[:whole] - a[:whole]).mean())


def measure(
    runner: Runner,
    subject: str,
    control: Runnable,
    variants: Mapping[str, Runnable],
    affinity: Sequence[int],
    *,
    margin: float = 0.03,
) -> dict[str, Outcome]:
    """Runs rounds until every variant is decided or the budget is spent.

    Args:
        runner: of one run; its finished rounds count.
        subject: key of the original in the store.

    Returns:
        An outcome for every variant that was visited at least twice.
    """
    try:
        while True:
            done = runner.blocks(ARM, subject)
            open_names = _open(done, variants, margin)
            if not open_names:
                break
            order = list(open_names)
            runner.rng.shuffle(order)
            logs = control_logs(done)
            latency = math.exp(float(np.median(logs))) if logs else 0.1
            block = script(control, [(name, variants[name]) for name in order], affinity, latency)
            # Two rounds are the least that has an interval: they run whatever the budget.
            runner.execute(ARM, subject, block, needed=len(done) < 2)
            target = DESIGN.next_look(len(done)) or len(done) + 1
            expected = runner.spent_s / (len(done) + 1) * target
            runner.progress(f"round {len(done) + 1} of {target}, {len(order)} variants",
                            runner.spent_s, min(expected, runner.budget_s))  # fmt: skip
    except BudgetSpent:
        pass
    return outcomes(runner.blocks(ARM, subject), margin)


def _open(blocks: Sequence[Block], variants: Mapping[str, Any], margin: float) -> list[str]:
    """Variants that the next round visits.

    Decisions are taken at looks only, and stand: they are taken again from the same rounds,
    so that a resumed run goes on as the interrupted one would have.
    """
    ratios = log_ratios(blocks)
    last = DESIGN.looks[-1]
    out = []
    for name in variants:
        logs = ratios.get(name, [])
        if len(logs) >= last:
            continue
        look = max((n for n in DESIGN.looks if n <= len(logs)), default=0)
        if look and len(logs) == look and _decided(ratios, look, margin).get(name):
            continue
        out.append(name)
    return out


def _decided(ratios: Mapping[str, list[float]], look: int, margin: float) -> dict[str, bool]:
    """Which variants are decided on their first ``look`` visits."""
    cut = {name: logs[:look] for name, logs in ratios.items() if len(logs) >= 2}
    return {name: verdict != "undecided" for name, verdict in _verdicts(cut, margin).items()}


def _verdicts(ratios: Mapping[str, Sequence[float]], margin: float) -> dict[str, str]:
    """Verdicts of all variants together: same by its own interval, different by Holm's p."""
    found = {name: compare_log_ratios(logs, margin=margin) for name, logs in ratios.items()}
    adjusted = dict(zip(found, holm([c.p_value for c in found.values()]), strict=True))
    out = {}
    for name, comparison in found.items():
        if comparison.verdict == "same":
            out[name] = "same"
        elif adjusted[name] < FALSE_DIFFERENCE and comparison.ratio.blocks != 1:
            out[name] = "faster" if comparison.ratio.value < 1 else "slower"
        else:
            out[name] = "undecided"
    return out


def outcomes(blocks: Sequence[Block], margin: float = 0.03) -> dict[str, Outcome]:
    """Ratios, corrected intervals and verdicts from finished rounds."""
    ratios = {name: logs for name, logs in log_ratios(blocks).items() if len(logs) >= 2}
    if not ratios:
        return {}
    verdicts = _verdicts(ratios, margin)
    found = {name: compare_log_ratios(logs, margin=margin) for name, logs in ratios.items()}
    p_values = dict(zip(found, holm([c.p_value for c in found.values()]), strict=True))
    ranks = {
        name: place for place, name in enumerate(sorted(found, key=lambda n: found[n].p_value))
    }
    base = latency_interval([math.exp(x) for x in control_logs(blocks)])
    out = {}
    for name, logs in ratios.items():
        error = mean_error(np.asarray(logs)[None, :])
        # Holm's step: the k-th smallest p-value is held against α / (m − k + 1).
        level = 1 - FALSE_DIFFERENCE / (len(ratios) - ranks[name])
        half = float(error.half_width(level)[0])
        mean = float(np.mean(logs))
        corrected = Estimate(math.exp(mean), math.exp(mean - half), _exp(mean + half),
                             level=level, blocks=len(logs))  # fmt: skip
        ratio = found[name].ratio
        out[name] = Outcome(ratio, corrected, _latency(base, ratio), p_values[name],
                            verdicts[name], len(logs))  # fmt: skip
    return out


def _latency(base: Estimate, ratio: Estimate) -> Estimate:
    """Seconds of a variant: its ratio times the original's latency, relative widths in squares."""
    value = base.value * ratio.value
    below = math.hypot(_log(base.value, base.low), _log(ratio.value, ratio.low))
    above = math.hypot(_log(base.high, base.value), _log(ratio.high, ratio.value))
    return Estimate(value, value * math.exp(-below), value * _exp(above), blocks=ratio.blocks)


def _log(upper: float, lower: float) -> float:
    if lower <= 0 or not math.isfinite(upper):
        return _LARGE
    return math.log(upper / lower)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
