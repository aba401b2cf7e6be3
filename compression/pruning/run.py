"""Budgeted structured pruning: select, cut, repair, measure, correct the price, again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lwprof.compression.graph import remove_channels
from lwprof.compression.pruning.least_squares import repair
from lwprof.compression.pruning.pricing import Pricing
from lwprof.compression.pruning.problem import Infeasible, Problem
from lwprof.compression.pruning.result import PruningResult, PruningStep
from lwprof.compression.pruning.saliency import saliency
from lwprof.compression.pruning.scene import Scene
from lwprof.compression.pruning.selectors import selector
from lwprof.compression.running import outputs, relative_error
from lwprof.profiler.graph import read
from lwprof.profiler.statistics import Estimate

MARGIN = 0.95
"""Share of the limit that is aimed at: the measurement's upper end must lie below the limit."""
LOWEST = 0.9
INSIDE = 0.15
"""How far into the bracket of what met the limit and what did not the next network lies."""
ROUNDS = 8

Measure = Callable[[Any], Estimate]


@dataclass(slots=True)
class Pruner:
    """Everything that one pruning needs.

    Attributes:
        price: of widths; corrected after every measurement.
        measure: a model → the budget's quantity on the device; None predicts only.
        recover: a model → the same, retrained; None leaves it after least squares.
        evaluate: a model → accuracy, for the record.
        state: a file that keeps measurements, so that an interrupted pruning goes on.
        step: channels are removed in multiples of this.
    """

    scene: Scene
    price: Pricing
    quantity: str
    limit: float
    device: str
    saliency: str = "l2"
    selector: str = "per-cost"
    measure: Measure | None = None
    recover: Callable[[Any], Any] | None = None
    evaluate: Callable[[Any], float] | None = None
    state: Path | None = None
    step: int = 1
    progress: Callable[..., None] = lambda *_: None
    _seen: list[tuple[float, Estimate]] = field(default_factory=list)

    def run(self) -> PruningResult:
        """Prunes to the limit; where that is infeasible, says what can be reached."""
        found = self.scene.found
        before = self._step(np.ones(found.units, bool), whole=True)
        scores = saliency(self.saliency)(self.scene)
        steps: list[PruningStep] = []
        minimum: float | None = None
        for number in range(ROUNDS):
            self.progress(f"round {number + 1}", number, ROUNDS)
            problem = Problem(found, scores, self.price, self._aim(), self._error(), self.step,
                              self.scene.seed)  # fmt: skip
            try:
                kept = selector(self.selector)(problem)
            except Infeasible as infeasible:
                # The price may be wrong: the narrowest network says what can be reached.
                minimum, kept = infeasible.minimum, problem.best(problem.least)
            if self._known(steps, kept):
                break
            steps.append(self._step(kept))
            if self._ends(steps[-1], kept):
                break
        good = max((s for s in steps if self._fits(s)), key=self._value, default=None)
        return self._result(before, good, steps, minimum)

    def _ends(self, step: PruningStep, kept: Any) -> bool:
        """Whether nothing better can follow: landed, or at either end of what can be cut."""
        if self.measure is None or (kept.all() and self._fits(step)):
            return True
        narrowest = all(width <= least for width, least in
                        zip(step.widths.values(), self._least(), strict=True))  # fmt: skip
        if narrowest and not self._fits(step):
            return True
        return self._fits(step) and self._value(step) >= LOWEST * self.limit

    def _least(self) -> Any:
        """The smallest widths of every group."""
        widths = self.scene.found.widths
        return np.minimum(widths, np.maximum(1, np.minimum(self.step, widths)))

    def _known(self, steps: Sequence[PruningStep], kept: Any) -> bool:
        counts = [int(w) for w in self.scene.found.counts(kept)]
        return any(list(step.widths.values()) == counts for step in steps)

    def _aim(self) -> float:
        """The price that the next network should have.

        The measurement's upper end must land just below the limit, so that the price is aimed
        below it by as much as measurements spread; and between the dearest network that met the
        limit and the cheapest that did not, where the line through them is wrong.
        """
        if self.measure is None:
            return self.limit
        spread = float(np.median([seen.high / seen.value for _, seen in self._seen]))
        raw = self.price.raw_of(self.limit * MARGIN / spread)
        over = min((r for r, seen in self._seen if seen.high > self.limit), default=None)
        under = max((r for r, seen in self._seen if seen.high <= self.limit
                     and (over is None or r < over)), default=None)  # fmt: skip
        if over is not None:
            raw = min(raw, over - INSIDE * (over - (under or 0.0)))
            if under is not None:
                raw = max(raw, under + INSIDE * (over - under))
        return self.price.of_raw(raw)

    def _result(
        self, before: PruningStep, good: PruningStep | None, steps: list[PruningStep],
        minimum: float | None,
    ) -> PruningResult:  # fmt: skip
        if good is None and self.measure is not None:
            minimum = min(step.measured.value for step in steps if step.measured is not None)
        return PruningResult(
            self.scene.found.graph.name, self.device, self.quantity, self.limit, good is not None,
            None if good is not None else minimum, before, good, tuple(steps), self.saliency,
            self.selector, self.price.source, self.scene.found.refused,
        )  # fmt: skip

    def _error(self) -> Callable[[Any], float] | None:
        """Selectors that ask for many masks get the true loss; the others their scores."""
        wants = self.selector in ("netadapt", "amc", "genetic")
        return self.scene.error if wants else None

    def _value(self, step: PruningStep) -> float:
        return step.predicted if step.measured is None else step.measured.high

    def _fits(self, step: PruningStep) -> bool:
        return self._value(step) <= self.limit

    def _step(self, kept: Any, whole: bool = False) -> PruningStep:
        found = self.scene.found
        model = found.graph.proto if whole else remove_channels(found, kept)
        if not whole:
            model = repair(self.scene, model, kept, self.scene.seed)
            model = model if self.recover is None else self.recover(model)
        widths = found.counts(kept)
        predicted, measured = self.price(widths), None
        if self.measure is not None:
            measured = self._measured(model)
            self._seen.append((self.price.raw(widths), measured))
            self.price.calibrate([(raw, seen.value) for raw, seen in self._seen])
            predicted = self.price(widths) if whole else predicted
        graph = read(model)
        error = relative_error(outputs(found.graph.proto, self.scene.feeds),
                               outputs(model, self.scene.feeds))  # fmt: skip
        return PruningStep(
            {g.name: int(w) for g, w in zip(found.groups, widths, strict=True)}, predicted,
            measured, None if self.evaluate is None else float(self.evaluate(model)), error,
            graph.macs, graph.params, graph.size_bytes, graph.peak_memory_bytes, model,
        )  # fmt: skip

    def _measured(self, model: Any) -> Estimate:
        """A measurement, taken from the state file where this very model is in it."""
        assert self.measure is not None
        known: dict[str, Any] = {}
        if self.state is not None and self.state.exists():
            known = json.loads(self.state.read_text(encoding="utf-8"))
        data = model.SerializeToString(deterministic=True)
        key = hashlib.sha256(f"{self.device} {self.quantity} ".encode() + data).hexdigest()
        if key in known:
            value = known[key]
            return Estimate(value["value"], value["low"], value["high"],
                            blocks=value.get("blocks"), n=value.get("n"))  # fmt: skip
        found = self.measure(model)
        if self.state is not None:
            known[key] = found.to_json()
            self.state.write_text(json.dumps(known), encoding="utf-8")
        return found
