"""Dense convolution on blocked tensors: register tiles of channels and pixels.

One tile holds ``ocb`` vectors of output channels for ``rows`` x ``cols`` pixels in
registers while the sum runs over input channels and the window: each step loads
``ocb`` weight vectors and one broadcast value for each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.nest import open_nest, run_parallel, vectorise_border
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, divisors

_ANCHOR, _BORDER = "conv", "conv_pad"
#: Cycles between a fused multiply-add and the use of its sum, times two per cycle.
_IN_FLIGHT = 8


class ConvTemplate:
    """Schedules the stage ``conv`` of :func:`lwprof.profiler.tvm.computes.conv`."""

    name = "conv2d_nchwc"

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Tiles that fit the registers, those with the fewest loads per sum first."""
        anchor = next((s for s in stages if s.name == _ANCHOR), None)
        if anchor is None:
            return []
        _, chunks, rows, columns, _ = anchor.spatial
        registers = setting.unit.registers
        ranked = []
        for channels in divisors(chunks, 8):
            for wide in divisors(columns, 28):
                for high in divisors(rows, 7):
                    sums = channels * wide * high
                    if sums + channels > registers or (high > 1 and wide > 14):
                        continue
                    ranked.append((_cost(channels, wide * high), -wide, channels, high, wide))
        padded = any(s.name == _BORDER for s in stages)
        orders = [("all", "channels")] if padded else [("none", "channels"), ("none", "rows")]
        return [
            Plan(
                self.name,
                {"ocb": channels, "rows": high, "cols": wide, "border": border, "outer": outer},
            )
            for border, outer in orders
            for _, _, channels, high, wide in sorted(ranked)
        ]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """The same tile with its border made as it goes, rows outside."""
        del setting
        if not any(s.name == _BORDER for s in stages):
            return []
        orders = [("all", "rows"), ("rows", "rows")]
        return [
            Plan(self.name, {**plan.choices, "border": border, "outer": outer})
            for border, outer in orders
        ]

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Tile, unroll, vectorise."""
        choices = plan.choices
        nest = open_nest(function, _ANCHOR, _BORDER)
        s = nest.schedule
        n, c, y, x, lane = s.get_loops(nest.output)[-5:]
        co, ci = s.split(c, [None, int(choices["ocb"])])
        yo, yi = s.split(y, [None, int(choices["rows"])])
        xo, xi = s.split(x, [None, int(choices["cols"])])
        by_rows = choices["outer"] == "rows"
        outer = (n, yo, co) if by_rows else (n, co, yo)
        s.reorder(*outer, xo, ci, yi, xi, lane)
        s.compute_at(nest.anchor, xo, preserve_unit_loops=True)
        inner = s.get_loops(nest.anchor)[4:]
        _, a_c, a_y, a_x, a_lane, rc, ky, kx, ri = inner
        s.reorder(rc, ky, kx, ri, a_y, a_x, a_c, a_lane)
        for loop in (ci, yi, xi, a_c, a_y, a_x):
            s.unroll(loop)
        s.vectorize(lane)
        s.vectorize(a_lane)
        at_rows = by_rows and choices["border"] == "rows"
        vectorise_border(nest, setting.unit.lanes, setting.threads, inside=yo if at_rows else None)
        run_parallel(nest, outer[:2] if by_rows else outer, setting.threads)
        s.decompose_reduction(nest.anchor, rc)
        return s.mod["main"]


def _cost(channels: int, pixels: int) -> float:
    """Cycles per sum of one step of the innermost loop, after a simple port model.

    Two loads and two fused multiply-adds a cycle; a tile with fewer sums than are
    in flight waits for them; the loop itself takes about one cycle.
    """
    sums = channels * pixels
    loads = channels + pixels
    return (max(sums / 2, loads / 2, _IN_FLIGHT / 2) + 1.0) / sums
