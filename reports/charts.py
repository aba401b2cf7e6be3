"""The charts, by Bokeh. Colours work on light and dark; axes are repainted with the theme.

Text from models and devices reaches a chart only through ``label``: Bokeh draws it on a canvas
and escapes it in tooltips; what would be read as TeX is broken up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports.cells import printable
from lwprof.units import format_quantity

BLUE, ORANGE, GREEN, PINK = "#3a86c8", "#d98a1f", "#22a27a", "#c66fa3"
PALETTE = (BLUE, ORANGE, GREEN, PINK, "#56b4e9", "#d5603a", "#8c8c3f", "#8f7fd0", "#8a939c")
SOFT = "#8a939c"
_WIDE = 26


def label(value: Any, limit: int = _WIDE) -> str:
    """A name made safe for a chart, shortened in the middle."""
    clean = printable(value)
    for mark in ("$$", r"\(", r"\["):  # read as TeX by Bokeh
        clean = clean.replace(mark, f"{mark[0]}\u200b{mark[1]}")
    if len(clean) <= limit:
        return clean
    half = (limit - 1) // 2
    return f"{clean[:half]}…{clean[-half:]}"


def scale_of(values: Sequence[float], unit: str) -> tuple[float, str]:
    """A factor and a unit in which the largest of the values reads well."""
    largest = max((abs(value) for value in values), default=0.0)
    if not largest:
        return 1.0, unit
    name = format_quantity(largest, unit, 6).partition(" ")[2] or unit
    sizes = {"n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    if unit == "B":
        return {"KiB": 2**-10, "MiB": 2**-20, "GiB": 2**-30}.get(name, 1.0), name
    prefix = name[: len(name) - len(unit)] if unit else name
    return 1 / sizes.get(prefix, 1.0), name


def frame(height: int, *, x: str, y: str = "", tips: Sequence[tuple[str, str]] = (),
          **options: Any) -> Any:  # fmt: skip
    """An empty figure in the house style: no toolbar, hover only."""
    from bokeh.models import HoverTool, NumeralTickFormatter, TapTool
    from bokeh.plotting import figure

    plot = figure(height=height, sizing_mode="stretch_width", toolbar_location=None, tools="",
                  x_axis_label=x, y_axis_label=y or None, min_width=240, **options)  # fmt: skip
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    if tips:
        plot.add_tools(HoverTool(tooltips=list(tips)), TapTool())
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.formatter = NumeralTickFormatter(format="0.[000]a")
        axis.axis_label_text_font_style = "normal"
    return plot


def hover_only(plot: Any, glyphs: Any) -> None:
    """Lets only these glyphs answer the pointer, not intervals or lines of reference."""
    from bokeh.models import HoverTool, TapTool

    for tool in plot.select({"type": HoverTool}):
        tool.renderers = [glyphs]
    for tool in plot.select({"type": TapTool}):
        tool.renderers = [glyphs]


def source(columns: Mapping[str, Sequence[Any]], *, linked: bool = False) -> Any:
    """Columns for a chart; ``linked`` ones light up with the rows of a table."""
    from bokeh.models import ColumnDataSource

    plain = {name: [_drawn(value) for value in values] for name, values in columns.items()}
    return ColumnDataSource(data=plain, name="linked" if linked else None)


def _drawn(value: Any) -> Any:
    """Six digits are more than a screen shows; the exact numbers stand in the tables."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def bars(names: Sequence[str], values: Sequence[float], lows: Sequence[float | None],
         highs: Sequence[float | None], unit: str, *, what: str, tips: Sequence[str] = (),
         linked: bool = False, signed: bool = False) -> Any:  # fmt: skip
    """Horizontal bars with their intervals, the first on top.

    Args:
        names: (n,) of anything; drawn shortened, numbered to keep them apart.
        values, lows, highs: (n,) in SI units; an end that nothing bounds is None.
        signed: values may be negative.
        tips: (n,) what stands beside the pointer; the names where empty.
    """
    factor, shown = scale_of(values, unit)
    rows = [-index for index in range(len(names))]
    data = source({
        "y": rows, "value": [v * factor for v in values],
        "low": [(v if e is None else e if signed else max(0.0, e)) * factor for e, v in zip(lows, values, strict=True)],
        "high": [(v if e is None else e) * factor for e, v in zip(highs, values, strict=True)],
        "name": [label(t, 80) for t in (tips or names)],
        "text": [format_quantity(v, unit) for v in values],
    }, linked=linked)  # fmt: skip
    plot = frame(max(140, 60 + 20 * len(names)), x=f"{what}, {shown}" if shown else what,
                 tips=[("", "@name"), (what, "@text")],
                 y_range=(-len(names) + 0.4, 0.6))  # fmt: skip
    main = plot.hbar(y="y", right="value", left=0, height=0.7, source=data, color=BLUE,
              nonselection_alpha=0.35, selection_color=ORANGE)  # fmt: skip
    plot.segment("low", "y", "high", "y", source=data, color=SOFT, line_width=1.5,
                 nonselection_alpha=0.35)  # fmt: skip
    hover_only(plot, main)
    plot.yaxis.ticker = rows
    plot.yaxis.major_label_overrides = {
        row: label(name) for row, name in zip(rows, names, strict=True)
    }
    plot.ygrid.visible = False
    if not signed:
        plot.x_range.start = 0
    return plot


def lanes(starts: Sequence[float], lengths: Sequence[float], kinds: Sequence[str],
          tips: Sequence[str]) -> Any:  # fmt: skip
    """One inference from left to right; kernels of a kind share a colour. Times in seconds."""
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    factor, shown = scale_of([*ends, 0.0], "s")
    order = sorted(set(kinds), key=lambda k: -sum(
        t for t, kind in zip(lengths, kinds, strict=True) if kind == k))  # fmt: skip
    colours = {kind: PALETTE[min(place, len(PALETTE) - 1)] for place, kind in enumerate(order)}
    data = source({
        "left": [s * factor for s in starts], "right": [e * factor for e in ends],
        "colour": [colours[kind] for kind in kinds], "name": [label(t, 80) for t in tips],
        "text": [format_quantity(t, "s") for t in lengths],
    })  # fmt: skip
    plot = frame(150, x=f"time in one inference, {shown}", y_range=(0, 1),
                 tips=[("", "@name"), ("takes", "@text")])  # fmt: skip
    plot.quad(left="left", right="right", bottom=0.1, top=0.9, source=data, color="colour",
              line_color=None)  # fmt: skip
    plot.yaxis.visible = plot.ygrid.visible = False
    return plot


def points(xs: Sequence[float], ys: Sequence[float], names: Sequence[str], *, x: str, y: str,
           lows: Sequence[float] = (), highs: Sequence[float] = (), sizes: Sequence[float] = (),
           colours: Sequence[str] = (), log: bool = False, linked: bool = False,
           diagonal: bool = False) -> Any:  # fmt: skip
    """A scatter, with vertical intervals where given."""
    axes = {"x_axis_type": "log", "y_axis_type": "log"} if log else {}
    columns: dict[str, Sequence[Any]] = {
        "x": xs, "y": ys, "name": [label(n, 80) for n in names],
        "size": sizes or [9] * len(xs), "colour": colours or [BLUE] * len(xs),
    }  # fmt: skip
    if lows:
        columns |= {"low": lows, "high": highs}
    data = source(columns, linked=linked)
    plot = frame(380, x=x, y=y, tips=[("", "@name"), (x, "@x{0.000a}"), (y, "@y{0.000a}")],
                 **axes)  # fmt: skip
    if diagonal and len(xs):
        ends = [min(*xs, *ys), max(*xs, *ys)]
        plot.line(ends, ends, color=SOFT, line_dash="dashed")
    if lows:
        plot.segment("x", "low", "x", "high", source=data, color=SOFT, line_width=1.5,
                     nonselection_alpha=0.25)  # fmt: skip
    main = plot.scatter("x", "y", source=data, size="size", color="colour", alpha=0.75,
                 selection_line_color=ORANGE, selection_line_width=3,
                 nonselection_alpha=0.25)  # fmt: skip
    hover_only(plot, main)
    return plot


def steps(xs: Sequence[float], ys: Sequence[float], *, x: str, y: str, joined: bool = True) -> Any:
    """Values in their order: a line with its points."""
    plot = frame(260, x=x, y=y, tips=[(x, "@x"), (y, "@y{0.000a}")])
    data = source({"x": xs, "y": ys})
    if joined:
        plot.step("x", "y", source=data, color=BLUE, line_width=2, mode="after")
    plot.scatter("x", "y", source=data, color=BLUE, size=6)
    return plot
