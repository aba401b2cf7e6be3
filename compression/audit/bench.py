"""Measuring variants of a model against the original on an open device."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lwprof.compression.audit import rounds
from lwprof.errors import ModelError
from lwprof.profiler.graph import Graph
from lwprof.profiler.session.link import Link
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare
from lwprof.profiler.session.runner import Progress, Runner, add_subjects
from lwprof.profiler.session.scripts import Runnable
from lwprof.profiler.statistics import Estimate, latency_interval
from lwprof.profiler.store import Store

AGAIN = "control_again"


@dataclass(frozen=True, slots=True)
class Compared:
    """What the rounds of one comparison said.

    Attributes:
        outcomes: by variant; those that were visited at least twice.
        refused: why the device takes a variant not at all.
        baseline_s: the original's latency in the same rounds; None where no round was run.
        rounds: fresh processes behind the numbers.
        flags: what disturbed them.
    """

    outcomes: Mapping[str, rounds.Outcome]
    refused: Mapping[str, str]
    baseline_s: Estimate | None
    rounds: int
    flags: tuple[str, ...]


@dataclass(slots=True)
class Bench:
    """One open device, for one audit.

    Attributes:
        budget_s: device seconds for each comparison.
        fresh: do not go on with an interrupted comparison of the same models.
        seed: of the visiting order.
    """

    link: Link
    settings: Settings
    threads: int
    store: Store
    budget_s: float
    fresh: bool = False
    seed: int | None = None
    progress: Progress = lambda *_: None

    def compare(
        self, graph: Graph, variants: Mapping[str, Graph], part: str | None = None
    ) -> Compared:
        """Runs rounds until every variant is decided or the budget is spent.

        A comparison of the same models that was cut off goes on where it was.

        Args:
            part: tells several comparisons of one audit apart.

        Raises:
            RunError: the device failed.
            ModelError: the device refuses the original.
        """
        control = self._runnable(graph)
        loaded, refused = self._loaded(variants)
        # Without any variant the original is still timed, against itself.
        loaded = loaded or {AGAIN: control}
        runner = self._runner(graph, loaded, part)
        found = rounds.measure(runner, graph.sha256, control, loaded, self.link.affinity)
        found.pop(AGAIN, None)
        blocks = runner.blocks(rounds.ARM, graph.sha256)
        self.store.finish_run(runner.run.run_id)
        logs = rounds.control_logs(blocks)
        return Compared(
            found, refused, latency_interval(_seconds(logs)) if logs else None, len(blocks),
            tuple(sorted({flag for block in blocks for flag in block.flags})),
        )  # fmt: skip

    def _runnable(self, graph: Graph) -> Runnable:
        return prepare(self.link.agent, graph, self.settings, self.threads).runnable

    def _loaded(
        self, variants: Mapping[str, Graph]
    ) -> tuple[dict[str, Runnable], dict[str, str]]:  # fmt: skip
        loaded, refused = {}, {}
        for place, (name, graph) in enumerate(variants.items()):
            self.progress(f"carrying {name}", float(place), float(len(variants)))
            try:
                loaded[name] = self._runnable(graph)
            except ModelError as error:
                refused[name] = str(error)
        return loaded, refused

    def _runner(self, graph: Graph, variants: Mapping[str, Runnable], part: str | None) -> Runner:
        context = self.link.context(self.settings, self.threads)
        request = {
            "kind": "audit", "model": graph.sha256, "context": context.key,
            "variants": {name: model.blob for name, model in sorted(variants.items())},
            "part": part,
        }  # fmt: skip
        self.store.put_device(self.link.stored_device())
        run = self.link.begin(self.store, "audit", request, context, fresh=self.fresh)
        add_subjects(self.store, {graph.sha256: graph.name}, {})
        runner = Runner(self.link.agent, self.store, run, context, self.budget_s,
                        random.Random(self.seed), self.progress)  # fmt: skip
        runner.recall()
        return runner


def _seconds(logs: Sequence[float]) -> list[float]:
    return [math.exp(x) for x in logs]
