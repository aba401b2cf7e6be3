"""The page of an architecture search: ``lwprof.search/1``, written by ``lwprof search --json``.

Needed: ``front[]`` with ``merit`` and ``costs`` (estimates by quantity). ``best``, ``verified``,
``constraints``, ``reachable`` and ``evaluations`` are shown where present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, quantity, text
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table


def unit_of(name: str) -> str:
    """The unit in a quantity's name, e.g. ``latency_s@pi4``."""
    base = name.partition("@")[0]
    return {"_s": "s", "_j": "J", "_w": "W"}.get(base[-2:], "B" if base.endswith("bytes") else "")


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of a search."""
    best = mapping(data.get("best"))
    limits = [mapping(limit) for limit in items(data.get("constraints"))]
    front = [mapping(point) for point in items(data.get("front"))]
    summary = (f"{text(best.get('architecture')).text} is the best within the limits."
               if best else "Nothing meets the limits.")  # fmt: skip
    sections = [_head(data, best, limits)]
    if front:
        sections.append(_front(front, limits, mapping(front[0].get("costs"))))
    verified = [mapping(point) for point in items(data.get("verified"))]
    if verified:
        sections.append(_verified(verified))
    devices = ", ".join(cells.printable(device) for device in items(data.get("devices")))
    environment = cells.printable(data.get("environment") or "")
    return Page(
        title=f"Search of {cells.printable(data.get('space'))}",
        subtitle=" · ".join(
            part for part in (devices, cells.printable(data.get("strategy") or ""), environment)
            if part
        ),
        verdict="found" if best else "infeasible", tone="good" if best else "bad",
        summary=summary,
        next_step="" if verified or not best else "measure the finalists: they are predictions.",
        sections=tuple(sections),
    )  # fmt: skip


def _head(data: Mapping[str, Any], best: Mapping[str, Any],
          limits: Sequence[Mapping[str, Any]]) -> Section:  # fmt: skip
    figures = [Figure("evaluations", quantity(data.get("evaluations"), ""), "evaluations")]
    merit = cells.number(best.get("merit"))
    if merit is not None:
        word = "accuracy" if best.get("accuracy") is not None else "merit"
        figures.append(Figure(f"best {word}", Cell(f"{merit:.6g}", merit), "best.merit"))
    for name, cost in mapping(best.get("costs")).items():
        figures.append(Figure(cells.printable(name), estimate(cost, unit_of(name)),
                              f"best.costs.{name}"))  # fmt: skip
    notes = []
    for limit in limits:
        name = cells.printable(limit.get("quantity"))
        shown = quantity(limit.get("limit"), unit_of(str(limit.get("quantity")))).text
        chance, where = cells.number(limit.get("probability")), limit.get("device")
        notes.append(f"Limit: {name} at most {shown}"
                     + (f" on {cells.printable(where)}" if where else "")
                     + (f", held with probability {chance:.0%}" if chance else "") + ".")  # fmt: skip
    for reach in items(data.get("reachable")):
        name = str(mapping(reach).get("quantity"))
        least = quantity(mapping(reach).get("least"), unit_of(name)).text
        notes.append(f"The least that can be reached of {cells.printable(name)}: {least}.")
    return Section("outcome", "Outcome", tuple(figures), tuple(notes))


def _front(front: Sequence[Mapping[str, Any]], limits: Sequence[Mapping[str, Any]],
           costs: Mapping[str, Any]) -> Section:  # fmt: skip
    columns = [Column("architecture", "architecture", False), Column("merit", "merit"),
               Column("within limits", "feasible", False)]  # fmt: skip
    columns += [Column(cells.printable(name), f"costs.{name}") for name in costs]
    name = next(iter(costs), "")
    xs: list[float] = []
    ys: list[float] = []
    lows: list[float] = []
    highs: list[float] = []
    names: list[str] = []
    rows: list[Row] = []
    factor, unit = charts.scale_of(
        [middle(mapping(p.get("costs")).get(name)) or 0.0 for p in front], unit_of(name)
    )
    for index, point in enumerate(front):
        cost, merit = mapping(point.get("costs")).get(name), cells.number(point.get("merit"))
        value, mark = middle(cost), None
        if value is not None and merit is not None:
            mark = len(xs)
            xs.append(merit)
            ys.append(value * factor)
            low, high = cells.ends(cost)
            lows.append((value if low is None else low) * factor)
            highs.append((value if high is None else high) * factor)
            names.append(str(point.get("architecture")))
        rows.append(Row(
            (text(point.get("architecture")),
             NOTHING if merit is None else Cell(f"{merit:.6g}", merit),
             text({True: "yes", False: "no"}.get(point.get("feasible"))),  # type: ignore[arg-type]
             *(estimate(mapping(point.get("costs")).get(key), unit_of(key)) for key in costs)),
            f"front.{index}", mark,
        ))  # fmt: skip
    plot = charts.points(xs, ys, names, x="merit", y=f"{charts.label(name)}, {unit}".strip(", "),
                         lows=lows, highs=highs, linked=True)  # fmt: skip
    for limit in limits:
        bound = cells.number(limit.get("limit"))
        if bound is not None and limit.get("quantity") == name.partition("@")[0] and xs:
            plot.line([min(xs), max(xs)], [bound * factor] * 2, color=charts.ORANGE,
                      line_dash="dashed")  # fmt: skip
    chart = Chart("front", "The front, with intervals (dashed: the limit)",
                  f"Scatter of {len(xs)} architectures, cost against merit", plot,
                  "front-table")  # fmt: skip
    table = Table("front-table", "Architectures that none other beats", tuple(columns),
                  tuple(rows), "front")  # fmt: skip
    return Section("front-section", "Front", charts=(chart,), tables=(table,))


def _verified(points: Sequence[Mapping[str, Any]]) -> Section:
    columns = (Column("architecture", "architecture", False), Column("merit", "merit"),
               Column("predicted", "predicted_latency_s"), Column("measured", "latency_s"),
               Column("meets the limits", "meets", False))  # fmt: skip
    rows = tuple(
        Row((text(p.get("architecture")), quantity(p.get("merit"), ""),
             estimate(p.get("predicted_latency_s"), "s"), estimate(p.get("latency_s"), "s"),
             text({True: "yes", False: "no"}.get(p.get("meets")))),  # type: ignore[arg-type]
            f"verified.{i}")
        for i, p in enumerate(points)
    )  # fmt: skip
    return Section("verified", "Verified on the device", tables=(
        Table("verified-table", "Finalists, predicted and measured", columns, rows),))  # fmt: skip
