"""The roofline: each kernel's rate against its arithmetic intensity, below the device's peaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.limits import Limits
from lwprof.reports.page import Chart


@dataclass(frozen=True, slots=True)
class Roofline:
    """A chart and what to know about it."""

    chart: Chart
    notes: tuple[str, ...]


def roofline(
    kernels: Sequence[Mapping[str, Any]], limits: Limits, id: str, table: str
) -> Roofline | None:
    """The roofline of kernels with countable work; None where there are none."""
    xs, ys, names = [], [], []
    for place, kernel in enumerate(kernels):
        macs, size = cells.number(kernel.get("macs")), cells.number(kernel.get("bytes"))
        seconds = cells.middle(kernel.get("latency_s"))
        if macs and size and seconds and seconds > 0:
            xs.append(macs / size)
            ys.append(macs / seconds)
            joined = "+".join(str(op) for op in cells.items(kernel.get("operators")))
            names.append(f"{place + 1} {joined}")
    if not xs:
        return None
    plot = charts.points(xs, ys, names, x="MACs per byte", y="MACs per second", log=True)
    ends = [min(xs) / 2, max(xs) * 2]
    notes = ["Kernels without multiply-accumulates have no place here; they are bound by memory."]
    if limits.bandwidth_bytes_per_s:
        slope = [x * limits.bandwidth_bytes_per_s for x in ends]
        plot.line(ends, slope, color=charts.ORANGE, line_width=2)
    if limits.mac_per_s:
        plot.line(ends, [limits.mac_per_s] * 2, color=charts.ORANGE, line_width=2)
    if limits.sources:
        notes.append("Orange: the board's peaks, by " + "; ".join(
            cells.printable(source) for source in limits.sources) + ".")  # fmt: skip
    else:
        plot.line(ends, [max(ys)] * 2, color=charts.SOFT, line_dash="dashed")
        notes.append("This board's profile states no peaks; the dashed line is the highest rate "
                     "that a kernel of this model reached.")  # fmt: skip
    chart = Chart(id, "Rate against arithmetic intensity",
                  f"Scatter of {len(xs)} kernels, rate against intensity", plot, table)  # fmt: skip
    return Roofline(chart, tuple(notes))
