"""Depthwise convolution and pooling on blocked tensors: each lane for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwprof.profiler.tvm.templates.nest import open_nest, run_parallel, vectorise_border
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, divisors


class WindowTemplate:
    """Schedules sums over a window that keep the channels apart.

    Args:
        name: the template's name.
        anchor: name of the stage that sums.
        border: name of the stage that pads its input.
    """

    def __init__(self, name: str, anchor: str, border: str) -> None:
        self.name = name
        self._anchor = anchor
        self._border = border

    def plans(self, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Rows of pixels in registers; the border made row by row or for a whole plane."""
        anchor = next((s for s in stages if s.name == self._anchor), None)
        if anchor is None or len(anchor.spatial) != 5:
            return []
        _, _, rows, columns, _ = anchor.spatial
        padded = any(s.name == self._border for s in stages)
        wides = divisors(columns, min(setting.unit.registers - 4, 14))[:2]
        highs = sorted(divisors(rows, 14), key=lambda d: abs(d - 5))
        inside = [("rows", high, wide) for wide in wides for high in highs]
        whole = [("plane", 1, wide) for wide in wides]
        # A few rows at a time first, then one plane at a time, then the rest.
        order = [*inside[:2], whole[0], *inside[2:], *whole[1:]] if padded else [
            ("none", 1, wide) for wide in wides
        ]  # fmt: skip
        return [
            Plan(self.name, {"rows": high, "cols": wide, "border": border})
            for border, high, wide in order
        ]

    def variants(self, plan: Plan, stages: Sequence[Stage], setting: Setting) -> list[Plan]:
        """Nothing beyond the plans."""
        del plan, stages, setting
        return []

    def apply(self, function: Any, plan: Plan, setting: Setting) -> Any:
        """Tile, unroll, vectorise."""
        choices = plan.choices
        nest = open_nest(function, self._anchor, self._border)
        s = nest.schedule
        n, c, y, x, lane = s.get_loops(nest.output)[-5:]
        yo, yi = s.split(y, [None, int(choices["rows"])])
        xo, xi = s.split(x, [None, int(choices["cols"])])
        s.reorder(n, c, yo, yi, xo, xi, lane)
        s.compute_at(nest.anchor, xo, preserve_unit_loops=True)
        inner = s.get_loops(nest.anchor)[5:]
        _, _, a_y, a_x, a_lane, ky, kx = inner
        s.reorder(ky, kx, a_y, a_x, a_lane)
        for loop in (xi, a_x):
            s.unroll(loop)
        if int(s.get(ky).extent) * int(s.get(kx).extent) <= 9:
            s.unroll(kx)
        s.vectorize(lane)
        s.vectorize(a_lane)
        place = {"plane": c, "rows": yo}.get(str(choices["border"]))
        vectorise_border(nest, setting.unit.lanes, setting.threads, inside=place)
        outer = (n, c) if place is c else (n, c, yo)
        run_parallel(nest, outer, setting.threads)
        s.decompose_reduction(nest.anchor, ky)
        return s.mod["main"]
