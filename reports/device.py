"""The page of a device: ``lwprof.device/1``, as ``from_store.device_of`` draws it from a store.

Fields: ``device``, ``context``, ``coverage[]`` (operators, kernels, fastest_s, slowest_s, total_s,
median_half_width), ``models[]`` (name, started, latency_s: one entry for each run),
``staircases[]`` (name, channels, latency_s), ``health[]`` (started, kind, blocks, flagged, flags)
and ``fit``: a ``lwprof.fit/1`` or null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import estimate, items, mapping, middle, quantity, share, text
from lwprof.reports.limits import limits_of
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table

_BARS = 30
_RUNS = 2000


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of a device in one context."""
    coverage = [mapping(entry) for entry in items(data.get("coverage"))]
    health = [mapping(entry) for entry in items(data.get("health"))]
    fit = mapping(data.get("fit"))
    kernels = sum(int(cells.number(entry.get("kernels")) or 0) for entry in coverage)
    blocks = sum(int(cells.number(entry.get("blocks")) or 0) for entry in health)
    flagged = sum(int(cells.number(entry.get("flagged")) or 0) for entry in health)
    flags = {str(f): None for entry in health for f in mapping(entry.get("flags"))}
    device = cells.printable(data.get("device"))
    sections = [_profile(data, kernels, blocks, flagged)]
    if coverage:
        sections.append(_coverage(coverage))
    sections.append(_predictors(fit, device))
    for index, series in enumerate(items(data.get("staircases"))):
        sections.append(_staircase(mapping(series), index))
    models = [mapping(entry) for entry in items(data.get("models"))]
    if models:
        sections.append(_models(models))
    if health:
        sections.append(_health(health))
    quiet = blocks and flagged / blocks < 0.1
    return Page(
        title=f"Device {device}", subtitle=cells.setting(data),
        verdict="quiet" if quiet else "disturbed" if blocks else "nothing measured",
        tone="good" if quiet else "unsure",
        summary=f"{kernels} kernels in its lookup table, {blocks} stored blocks, {flagged} flagged.",
        next_step=_next(fit, kernels, device), sections=tuple(sections),
        flags=tuple(cells.printable(flag) for flag in flags), facts=cells.context_facts(data),
    )  # fmt: skip


def _next(fit: Mapping[str, Any], kernels: int, device: str) -> str:
    advice = [cells.printable(line) for line in items(fit.get("advice"))]
    if advice:
        return f"measure more of: {'; '.join(advice[:3])}."
    if kernels < 200:
        return f"build its lookup table: lwprof measure --device {device} --budget 20m."
    return "" if fit else f"fit its predictors: lwprof fit --device {device} --json fit.json."


def _profile(data: Mapping[str, Any], kernels: int, blocks: int, flagged: int) -> Section:
    limits = limits_of(data)
    figures = [Figure("kernels in the table", Cell(str(kernels), kernels)),
               Figure("stored blocks", Cell(str(blocks), blocks))]  # fmt: skip
    if blocks:
        figures.append(Figure("flagged", share(flagged / blocks)))
    facts = mapping(mapping(data.get("context")).get("facts"))
    if facts.get("memory_bytes") is not None:
        figures.append(Figure("memory", quantity(facts["memory_bytes"], "B"),
                              "context.facts.memory_bytes"))  # fmt: skip
    if limits.mac_per_s:
        figures.append(Figure("peak MACs a second", quantity(limits.mac_per_s, "")))
    if limits.bandwidth_bytes_per_s:
        figures.append(Figure("peak bytes a second", quantity(limits.bandwidth_bytes_per_s, "B")))
    notes = tuple(f"Peak by {cells.printable(source)}." for source in limits.sources)
    return Section("profile", "Profile", tuple(figures),
                   notes or ("This board's profile states no peaks.",))  # fmt: skip


def _coverage(coverage: Sequence[Mapping[str, Any]]) -> Section:
    top = coverage[:_BARS]
    none: list[float | None] = [None] * len(top)
    plot = charts.bars([str(e.get("operators")) for e in top],
                       [float(cells.number(e.get("kernels")) or 0) for e in top], none, none, "",
                       what="kernels", linked=True)  # fmt: skip
    columns = (Column("operators", "operators", False), Column("kernels", "kernels"),
               Column("fastest", "fastest_s"), Column("slowest", "slowest_s"),
               Column("together", "total_s"), Column("median ±", "median_half_width"))  # fmt: skip
    rows = tuple(
        Row((text(e.get("operators")), quantity(e.get("kernels"), ""),
             quantity(e.get("fastest_s"), "s"), quantity(e.get("slowest_s"), "s"),
             quantity(e.get("total_s"), "s"), share(e.get("median_half_width"))),
            f"coverage.{i}", i if i < _BARS else None)
        for i, e in enumerate(coverage)
    )  # fmt: skip
    chart = Chart("coverage", "Kernels measured, by operators", "Bars of kernels by operators",
                  plot, "coverage-table")  # fmt: skip
    return Section("table", "Coverage of the lookup table", charts=(chart,), tables=(
        Table("coverage-table", "What was measured", columns, rows, "coverage"),))  # fmt: skip


def _predictors(fit: Mapping[str, Any], device: str) -> Section:
    families = [mapping(entry) for entry in items(fit.get("families"))]
    if not families:
        return Section("predictors", "Predictors", notes=(
            (f"No fit was given. lwprof fit --device {device} --json fit.json, then give fit.json "
            "beside the device."),))  # fmt: skip
    none: list[float | None] = [None] * len(families)
    plot = charts.bars([str(f.get("family")) for f in families],
                       [100 * (cells.number(f.get("median_error")) or 0.0) for f in families],
                       none, none, "", what="median error of kernels left out, %",
                       linked=True)  # fmt: skip
    columns = (Column("family", "family", False), Column("kernels", "kernels"),
               Column("median error", "median_error"), Column("within 10 %", "within_10_percent"),
               Column("90 % intervals that hold", "coverage_90"),
               Column("share of time", "share_of_time"))  # fmt: skip
    rows = tuple(
        Row((text(f.get("family")), quantity(f.get("kernels"), ""), share(f.get("median_error")),
             share(f.get("within_10_percent")), share(f.get("coverage_90")),
             share(f.get("share_of_time"))), f"fit.families.{i}", i)
        for i, f in enumerate(families)
    )  # fmt: skip
    advice = [f"Measure next: {cells.printable(line)}." for line in items(fit.get("advice"))]
    chart = Chart("errors", "Error on kernels left out of the fit", "Bars of error by family", plot,
                  "family-table")  # fmt: skip
    note = "Of 90 % intervals, 90 % should hold: fewer means that they are too narrow."
    return Section("predictors", "Predictors", notes=(note, *advice), charts=(chart,), tables=(
        Table("family-table", "Accuracy and calibration by kind of kernel", columns, rows,
              "errors"),))  # fmt: skip


def _staircase(series: Mapping[str, Any], index: int) -> Section:
    channels = [cells.number(c) or 0 for c in items(series.get("channels"))]
    times = [cells.number(t) or 0.0 for t in items(series.get("latency_s"))]
    factor, unit = charts.scale_of(times, "s")
    plot = charts.steps(channels, [t * factor for t in times], x="output channels",
                        y=f"latency, {unit}", joined=False)  # fmt: skip
    plot.line(channels, [t * factor for t in times], color=charts.BLUE)
    name = cells.printable(series.get("name"))
    rows = tuple(Row((Cell(str(c), c), quantity(t, "s")))
                 for c, t in zip(channels, times, strict=False))  # fmt: skip
    chart = Chart(f"stairs-{index}", name, f"Latency against output channels of {name}", plot,
                  f"stairs-table-{index}")  # fmt: skip
    return Section(f"staircase-{index}", f"Latency against channels {index + 1}", charts=(chart,),
                   tables=(Table(f"stairs-table-{index}", f"Values of {name}",
                                 (Column("channels"), Column("latency")), rows, folded=True),))  # fmt: skip


def _models(models: Sequence[Mapping[str, Any]]) -> Section:
    shown = models[-_RUNS:]
    first: dict[str, float] = {}
    ratios = []
    for entry in shown:
        value = middle(entry.get("latency_s")) or 0.0
        ratios.append(value / first.setdefault(str(entry.get("name")), value or 1.0))
    plot = charts.points(list(range(1, len(shown) + 1)), ratios,
                         [str(entry.get("name")) for entry in shown], x="measurement, in order",
                         y="latency, ratio to the model's first", linked=True)  # fmt: skip
    columns = (Column("model", "name", False), Column("started", "started", False),
               Column("latency", "latency_s"), Column("to its first"))  # fmt: skip
    base = len(models) - len(shown)
    rows = tuple(
        Row((text(e.get("name")), text(e.get("started")), estimate(e.get("latency_s"), "s"),
             cells.ratio(ratios[i])), f"models.{base + i}", i)
        for i, e in enumerate(shown)
    )  # fmt: skip
    chart = Chart("drift", "Each model against its own first measurement",
                  "Points of latency ratios in the order of time", plot, "model-table")  # fmt: skip
    return Section("drift-section", "Models and drift", charts=(chart,), tables=(
        Table("model-table", "Models measured", columns, rows, "drift"),))  # fmt: skip


def _health(health: Sequence[Mapping[str, Any]]) -> Section:
    shown = health[-_RUNS:]
    base = len(health) - len(shown)
    shares = [100 * (cells.number(e.get("flagged")) or 0) / max(1, cells.number(e.get("blocks")) or 1)
              for e in shown]  # fmt: skip
    plot = charts.points(list(range(1, len(shown) + 1)), shares,
                         [str(e.get("started")) for e in shown], x="run, in order",
                         y="flagged blocks, %", linked=True)  # fmt: skip
    columns = (Column("started", "started", False), Column("kind", "kind", False),
               Column("blocks", "blocks"), Column("flagged", "flagged"),
               Column("flags", "", False))  # fmt: skip
    rows = tuple(
        Row((text(e.get("started")), text(e.get("kind")), quantity(e.get("blocks"), ""),
             quantity(e.get("flagged"), ""),
             text(", ".join(f"{k} {v}" for k, v in mapping(e.get("flags")).items()))),
            f"health.{base + i}", i)
        for i, e in enumerate(shown)
    )  # fmt: skip
    chart = Chart("health", "Blocks that throttling, load or frequency touched, by run",
                  "Points of the share of flagged blocks in order", plot, "health-table")  # fmt: skip
    return Section("health-section", "Health over time", charts=(chart,), tables=(
        Table("health-table", "Runs and what disturbed them", columns, rows, "health"),))  # fmt: skip
