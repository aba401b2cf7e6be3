"""Any other sum of products: register tiles along the last two useful axes.

Serves what has no blocked form: grouped convolutions with odd channels, one- and
three-dimensional and transposed convolutions, products of two activations. The
last axis goes into vectors, one axis before it is unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.injective import schedule_outputs
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, divisors


class SpatialTemplate:
    """Schedules functions with one stage that sums and an output of its shape."""

    name = "register_tile"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Tiles of one outer axis by vectors of the last, the largest first."""
        anchor = _anchor(stages)
        if anchor is None:
            return []
        lanes, registers = setting.unit.lanes, setting.unit.registers
        ranked = []
        for width in divisors(anchor.spatial[-1], 4 * lanes):
            vectors = -(-width // lanes)
            for axis in _outer_axes(anchor):
                for tile in divisors(anchor.spatial[axis], 16):
                    if tile * vectors + vectors + 1 > registers:
                        continue
                    useful = width / (vectors * lanes)
                    cost = (max(tile * vectors / 2, 4.0) + 1.0) / (tile * vectors * useful)
                    ranked.append((cost, axis, tile, width))
        ranked.sort()
        return [
            Plan(self.name, {"axis": axis, "tile": tile, "width": width})
            for _, axis, tile, width in ranked
        ]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Nothing beyond the plans."""
        del plan, stages, setting
        return []

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Tile, unroll, vectorise."""
        from tvm.s_tir import Schedule

        s = Schedule(function)
        anchor, output, before = _open(s)
        axis, tile, width = (int(plan.choices[k]) for k in ("axis", "tile", "width"))
        loops = s.get_loops(output)
        across, along = s.split(loops[axis], [None, tile])
        chunk, lane = s.split(loops[-1], [None, width])
        outer = [*loops[:axis], across, *loops[axis + 1 : -1], chunk]
        s.reorder(*outer, along, lane)
        s.compute_at(anchor, chunk, preserve_unit_loops=True)
        inner = s.get_loops(anchor)[len(outer) :]
        spatial, reduced = inner[: len(loops)], inner[len(loops) :]
        s.reorder(*reduced, *spatial)
        for loop in (along, *spatial[:-1]):
            s.unroll(loop)
        s.vectorize(lane)
        s.vectorize(spatial[-1])
        schedule_outputs(s, "inner", setting, only=before)
        if setting.threads > 1:
            s.parallel(s.fuse(*outer[:-1]))
        s.decompose_reduction(anchor, reduced[0])
        return s.mod["main"]


def _anchor(stages: Sequence[Stage]) -> Stage | None:
    """The only stage that sums, when the output has its shape."""
    summing = [stage for stage in stages if stage.reduced]
    if len(summing) != 1 or len(summing[0].spatial) < 2:
        return None
    anchor = summing[0]
    fits = stages[-1].spatial == anchor.spatial and anchor.spatial[-1] >= 4
    return anchor if fits else None


def _outer_axes(anchor: Stage) -> list[int]:
    """Axes worth unrolling: channels of a convolution, rows of a product."""
    axes = {1, len(anchor.spatial) - 2} if len(anchor.spatial) > 2 else {0}
    return sorted(a for a in axes if anchor.spatial[a] > 1) or [0]


def _open(s: Any) -> tuple[Any, Any, list[Any]]:
    """Inline what follows the sum; return the sum, the output and what comes before."""
    from lwprof.profiler.tvm.templates.plan import stages_of

    blocks = s.get_child_blocks(s.get_sblock("root"))
    stages = stages_of(s.mod["main"])
    place = next(i for i, stage in enumerate(stages) if stage.reduced)
    for block in blocks[place + 1 : -1]:
        s.compute_inline(block)
    if place == len(blocks) - 1:
        output = s.cache_write(blocks[place], 0, "local")
    else:
        output = blocks[-1]
        s.set_scope(blocks[place], 0, "local")
    return blocks[place], output, blocks[:place]
