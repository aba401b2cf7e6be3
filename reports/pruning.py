"""The page of a pruning: ``lwprof.prune/1``, written by ``lwprof prune --json``.

Needed: ``name``, ``budget``, ``before`` and ``steps[]`` with ``predicted``; ``after``,
``measured``, ``accuracy``, ``output_error``, ``macs``, ``params`` and ``refused`` are shown where
present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, quantity, text
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table
from lwprof.reports.search import unit_of


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of a pruning."""
    budget = mapping(data.get("budget"))
    name = str(budget.get("quantity"))
    unit, limit = unit_of(name), cells.number(budget.get("limit"))
    feasible = data.get("feasible") is True
    after = mapping(data.get("after"))
    reached = estimate(after.get("measured") or after.get("predicted"), unit)
    summary = (f"{reached.text} after pruning; the limit is {quantity(limit, unit).text}."
               if feasible else f"{quantity(limit, unit).text} cannot be reached; the least is "
               f"{quantity(data.get('minimum'), unit).text}.")  # fmt: skip
    steps = [mapping(step) for step in items(data.get("steps"))]
    sections = [_sides(data, unit)]
    if steps:
        sections.append(_path(steps, unit, limit, name))
    if after:
        sections.append(_widths(mapping(mapping(data.get("before")).get("widths")),
                                mapping(after.get("widths"))))  # fmt: skip
    refused = mapping(data.get("refused"))
    if refused:
        rows = tuple(Row((text(node), text(why))) for node, why in refused.items())
        sections.append(Section("refused", "Left alone", tables=(
            Table("refused-table", "Nodes whose channels were left alone",
                  (Column("node", "", False), Column("why", "", False)), rows),)))  # fmt: skip
    return Page(
        title=f"Pruning {cells.printable(data.get('name'))} for {cells.printable(data.get('device'))}",
        subtitle=" · ".join(cells.printable(data[k]) for k in ("saliency", "selector", "priced_by")
                            if data.get(k)),
        verdict="within the limit" if feasible else "infeasible",
        tone="good" if feasible else "bad", summary=summary,
        next_step="recover the accuracy by training (--recover)." if feasible else "",
        sections=tuple(sections),
    )  # fmt: skip


def _sides(data: Mapping[str, Any], unit: str) -> Section:
    figures = []
    for side in ("before", "after"):
        step = mapping(data.get(side))
        for key, label, its in (("predicted", "predicted", unit), ("measured", "measured", unit),
                                ("macs", "MACs", ""), ("params", "parameters", ""),
                                ("size_bytes", "size", "B")):  # fmt: skip
            if step.get(key) is not None:
                figures.append(Figure(f"{side}: {label}", estimate(step[key], its),
                                      f"{side}.{key}"))  # fmt: skip
    return Section("sides", "Before and after", tuple(figures))


def _path(steps: Sequence[Mapping[str, Any]], unit: str, limit: float | None,
          name: str) -> Section:  # fmt: skip
    predicted = [cells.number(step.get("predicted")) or 0.0 for step in steps]
    factor, shown = charts.scale_of([*predicted, limit or 0.0], unit)
    plot = charts.steps(list(range(1, len(steps) + 1)), [v * factor for v in predicted],
                        x="step", y=f"predicted {charts.label(name)}, {shown}")  # fmt: skip
    known = [(i + 1, (middle(step.get("measured")) or 0.0) * factor)
             for i, step in enumerate(steps) if step.get("measured")]  # fmt: skip
    if known:
        plot.scatter([x for x, _ in known], [y for _, y in known], color=charts.GREEN, size=11,
                     marker="diamond")  # fmt: skip
    if limit is not None:
        plot.line([1, max(2, len(steps))], [limit * factor] * 2, color=charts.ORANGE,
                  line_dash="dashed")  # fmt: skip
    columns = (Column("step"), Column("predicted", "predicted"), Column("measured", "measured"),
               Column("accuracy", "accuracy"), Column("output error", "output_error"),
               Column("MACs", "macs"), Column("parameters", "params"),
               Column("peak memory", "peak_memory_bytes"))  # fmt: skip
    rows = tuple(
        Row((Cell(str(i + 1), i + 1), quantity(step.get("predicted"), unit),
             estimate(step.get("measured"), unit), _plain(step.get("accuracy")),
             _plain(step.get("output_error")), quantity(step.get("macs"), ""),
             quantity(step.get("params"), ""), quantity(step.get("peak_memory_bytes"), "B")),
            f"steps.{i}")
        for i, step in enumerate(steps)
    )  # fmt: skip
    chart = Chart("path", "The path (green: measured; dashed: the limit)",
                  f"Steps of {len(steps)} networks on the way to the budget", plot,
                  "step-table")  # fmt: skip
    return Section("steps", "The path", charts=(chart,), tables=(
        Table("step-table", "Networks in the order they were tried", columns, rows),))  # fmt: skip


def _plain(value: Any) -> Cell:
    found = cells.number(value)
    return NOTHING if found is None else Cell(f"{found:.4g}", found)


def _widths(before: Mapping[str, Any], after: Mapping[str, Any]) -> Section:
    columns = (Column("group", "", False), Column("before"), Column("after"), Column("kept"))
    rows = []
    for group, width in after.items():
        old, new = cells.number(before.get(group)), cells.number(width)
        kept = cells.share(new / old, 0) if old and new is not None else NOTHING
        rows.append(Row((text(group), quantity(old, ""), quantity(new, ""), kept)))
    return Section("widths", "Channels", tables=(
        Table("width-table", "Channels by group", columns, tuple(rows)),))  # fmt: skip
