"""Elementwise operators and data movement: one loop over the output, in vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage


class InjectiveTemplate:
    """Schedules functions that sum over nothing."""

    name = "elementwise"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Vectors along the last axis, along the flattened output, or LLVM's own."""
        if not stages or any(stage.reduced for stage in stages):
            return []
        last, lanes = stages[-1].spatial, setting.unit.lanes
        ways = ["scalar"]
        if last and last[-1] % lanes == 0:
            ways.insert(0, "inner")
        elif last and math.prod(last) % lanes == 0:
            ways.insert(0, "flat")
        return [Plan(self.name, {"vectors": way}) for way in ways]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Nothing beyond the plans."""
        del plan, stages, setting
        return []

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Inline everything into the outputs and vectorise those."""
        from tvm.s_tir import Schedule

        s = Schedule(function)
        outputs = s.get_output_blocks("root")
        names = {str(s.get(block).name_hint) for block in outputs}
        for block in s.get_child_blocks(s.get_sblock("root")):
            if str(s.get(block).name_hint) not in names:
                s.compute_inline(block)
        schedule_outputs(s, str(plan.choices["vectors"]), setting, only=outputs)
        return s.mod["main"]


def schedule_outputs(s: Any, vectors: str, setting: Setting, *, only: Sequence[Any]) -> None:
    """Vectorise and spread blocks that sum over nothing.

    Args:
        s: the schedule.
        vectors: ``inner``, ``flat`` or ``scalar``.
        setting: where it will run.
        only: the blocks.
    """
    lanes = setting.unit.lanes
    for block in only:
        loops = s.get_loops(block)
        if not loops:
            continue
        if vectors == "flat":
            loops = [s.fuse(*loops)] if len(loops) > 1 else loops
        if vectors != "scalar" and int(s.get(loops[-1]).extent) % lanes == 0:
            outer, inner = s.split(loops[-1], [None, lanes])
            s.vectorize(inner)
            loops = [*loops[:-1], outer]
        if setting.threads > 1:
            fused = s.fuse(*loops) if len(loops) > 1 else loops[0]
            s.parallel(fused)
