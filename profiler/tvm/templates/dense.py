"""Products with packed weights: tiles of rows by vectors of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.nest import open_nest, run_parallel
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, divisors

_ANCHOR = "dense"


class DenseTemplate:
    """Schedules the stage ``dense`` of :func:`lwprof.profiler.tvm.computes.dense`."""

    name = "dense_packed"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Tiles that fit the registers, the largest first."""
        anchor = next((s for s in stages if s.name == _ANCHOR), None)
        if anchor is None:
            return []
        rows, chunks, lanes = anchor.spatial
        # A column of the output must be one lane of one vector, or the product
        # goes through memory first.
        exact = stages[-1].spatial[-1] == chunks * lanes and stages[-1] is not anchor
        placed = "inside" if exact and math.prod(stages[-1].spatial[:-1]) == rows else "apart"
        ranked = []
        for wide in divisors(chunks, 8):
            for high in divisors(rows, 14):
                sums = wide * high
                if sums + wide + 1 <= setting.unit.registers:
                    cost = max(sums / 2, (wide + high) / 2, 4.0) + 1.0
                    ranked.append((cost / sums, -wide, high, wide))
        return [
            Plan(self.name, {"rows": high, "vectors": wide, "product": placed})
            for _, _, high, wide in sorted(ranked)
        ]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """The product kept in memory, so that weights are read once for all rows."""
        del setting
        if plan.choices["product"] == "apart" or stages[-1].spatial[:-1] == (1,):
            return []
        return [Plan(self.name, {**plan.choices, "product": "apart"})]

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Tile, unroll, vectorise."""
        from tvm.s_tir import Schedule

        if plan.choices["product"] == "apart":
            return _apart(Schedule(function), plan, setting)
        nest = open_nest(function, _ANCHOR, None)
        s = nest.schedule
        *rows, column = s.get_loops(nest.output)
        m = s.fuse(*rows) if len(rows) > 1 else rows[0]
        lanes = int(s.get(s.get_loops(nest.anchor)[2]).extent)
        c, lane = s.split(column, [None, lanes])
        mo, mi = s.split(m, [None, int(plan.choices["rows"])])
        co, ci = s.split(c, [None, int(plan.choices["vectors"])])
        s.reorder(co, mo, mi, ci, lane)
        s.compute_at(nest.anchor, mo, preserve_unit_loops=True)
        a_m, a_c, a_lane, k = s.get_loops(nest.anchor)[2:]
        s.reorder(k, a_m, a_c, a_lane)
        for loop in (mi, ci, a_m, a_c):
            s.unroll(loop)
        s.vectorize(lane)
        s.vectorize(a_lane)
        run_parallel(nest, (co, mo), setting.threads)
        s.decompose_reduction(nest.anchor, k)
        return s.mod["main"]


def _apart(s: Any, plan: Plan, setting: Setting) -> Any:
    """The product as a nest of its own, what follows it as another."""
    from lwprof.profiler.tvm.templates.injective import schedule_outputs

    blocks = s.get_child_blocks(s.get_sblock("root"))
    anchor = s.get_sblock(_ANCHOR)
    for block in blocks[1:-1]:
        s.compute_inline(block)
    registers = s.cache_write(anchor, 0, "local")
    m, c, lane, k = s.get_loops(anchor)
    mo, mi = s.split(m, [None, int(plan.choices["rows"])])
    co, ci = s.split(c, [None, int(plan.choices["vectors"])])
    s.reorder(co, mo, k, mi, ci, lane)
    s.reverse_compute_at(registers, mo, preserve_unit_loops=True)
    for loop in (mi, ci, *s.get_loops(registers)[2:-1]):
        s.unroll(loop)
    s.vectorize(lane)
    s.vectorize(s.get_loops(registers)[-1])
    if setting.threads > 1:
        s.parallel(s.fuse(co, mo))
        k = s.get_loops(anchor)[1]
    s.decompose_reduction(anchor, k)
    if len(blocks) > 1:
        schedule_outputs(s, "inner", setting, only=[blocks[-1]])
    return s.mod["main"]
