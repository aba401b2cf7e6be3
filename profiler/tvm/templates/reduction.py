"""Sums, means, maxima and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.injective import schedule_outputs
from lwprof.profiler.tvm.templates.nest import open_nest, run_parallel
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, divisors, stages_of


class PlaneTemplate:
    """Reductions of whole planes of a blocked tensor, as global average pooling."""

    name = "plane_reduction"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Several blocks of channels at once, so that their sums do not wait."""
        reduced = [stage for stage in stages if stage.reduced]
        if len(reduced) != 1 or len(reduced[0].spatial) != 5 or len(reduced[0].reduced) != 2:
            return []
        spatial = reduced[0].spatial
        if spatial[2:] != (1, 1, setting.unit.lanes) or stages[-1].spatial != spatial:
            return []
        return [Plan(self.name, {"vectors": d}) for d in divisors(spatial[1], 8)[:3]]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Nothing beyond the plans."""
        del plan, stages, setting
        return []

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Keep a few vectors of sums in registers."""
        anchor = next(stage.name for stage in stages_of(function) if stage.reduced)
        nest = open_nest(function, anchor, None)
        s = nest.schedule
        n, c, _, _, lane = s.get_loops(nest.output)
        co, _ = s.split(c, [None, int(plan.choices["vectors"])])
        s.compute_at(nest.anchor, co, preserve_unit_loops=True)
        _, a_c, _, _, a_lane, rows, columns = s.get_loops(nest.anchor)[2:]
        s.reorder(rows, columns, a_c, a_lane)
        s.unroll(a_c)
        s.vectorize(a_lane)
        s.vectorize(lane)
        run_parallel(nest, (n, co), setting.threads)
        s.decompose_reduction(nest.anchor, rows)
        return s.mod["main"]


class ReductionTemplate:
    """Any other function that reduces, each stage by itself."""

    name = "reduction"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Partial sums in lanes where the extents allow, else what LLVM finds."""
        del setting
        if not any(stage.reduced for stage in stages):
            return []
        return [Plan(self.name, {"sums": way}) for way in ("lanes", "scalar")]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Nothing beyond the plans."""
        del plan, stages, setting
        return []

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Schedule the stages one after the other."""
        from tvm.s_tir import Schedule

        s = Schedule(function)
        in_lanes = plan.choices["sums"] == "lanes"
        blocks = s.get_child_blocks(s.get_sblock("root"))
        for stage, block in zip(stages_of(function), blocks, strict=True):
            if stage.reduced:
                _reduce(s, block, stage, setting, in_lanes)
            elif stage.spatial:
                schedule_outputs(s, "inner" if in_lanes else "scalar", setting, only=[block])
        return s.mod["main"]


def _reduce(s: Any, block: Any, stage: Stage, setting: Setting, in_lanes: bool) -> None:
    """One reducing stage.

    A sum along the last axis of its input is split into one partial sum for each
    lane; a sum along another axis runs over vectors of the last one.
    """
    lanes, depth = setting.unit.lanes, len(stage.spatial)
    loops = s.get_loops(block)
    along_last = _reads_along(s, block, depth)
    if in_lanes and along_last and stage.reduced[-1] % lanes == 0:
        _, lane = s.split(loops[-1], [None, lanes])
        partial = s.rfactor(lane, factor_axis=depth)
        s.vectorize(s.get_loops(partial)[-1])
        if setting.threads > 1 and depth:
            s.parallel(s.get_loops(partial)[0])
    elif in_lanes and not along_last and depth and stage.spatial[-1] % lanes == 0:
        outer, lane = s.split(loops[depth - 1], [None, lanes])
        s.reorder(*loops[: depth - 1], outer, *loops[depth:], lane)
        s.vectorize(lane)
    if setting.threads > 1 and depth:
        s.parallel(s.get_loops(block)[0])


def _reads_along(s: Any, block: Any, depth: int) -> bool:
    """Whether the last index of the block's input moves with a reduced axis."""
    from tvm.tirx.analysis import undefined_vars

    statement = s.get(block)
    reduced = [variable.var for variable in list(statement.iter_vars)[depth:]]
    for region in statement.reads:
        if len(region.region):
            moving = undefined_vars(region.region[-1].min)
            return any(used.same_as(variable) for used in moving for variable in reduced)
    return False
