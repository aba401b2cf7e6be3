"""Many devices × many models: ``lwprof.measurements/1``, or several measurements.

Of two measurements of a model in one context, the later counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, text
from lwprof.reports.page import Chart, Column, Page, Row, Section, Table

_QUANTITIES = (("latency_s", "Latency", "s"), ("energy_j", "Energy", "J"),
               ("peak_memory_bytes", "Peak memory", "B"))  # fmt: skip


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of ``lwprof.measurements/1``."""
    results = [mapping(result) for result in items(data.get("results"))]
    found: dict[str, dict[str, tuple[Mapping[str, Any], str]]] = {}
    for r, result in enumerate(results):
        for m, model in enumerate(items(result.get("models"))):
            row = found.setdefault(cells.printable(mapping(model).get("name")), {})
            row[cells.setting({**result, "started": ""})] = (
                mapping(model),
                f"results.{r}.models.{m}",
            )
    settings = list(dict.fromkeys(setting for row in found.values() for setting in row))
    unfit = sum(m.get("verdict") != "ok" for row in found.values() for m, _ in row.values())
    whole = sum(len(row) for row in found.values())
    failures = [mapping(failure) for failure in items(data.get("failures"))]
    sections = [_section(found, settings, *wanted) for wanted in _QUANTITIES]
    if failures:
        rows = tuple(Row((text(f.get("device")), text(f.get("error")))) for f in failures)
        sections.append(Section("failures", "Devices that failed", tables=(
            Table("failure-table", "Failures",
                  (Column("device", "", False), Column("why", "", False)), rows),)))  # fmt: skip
    return Page(
        title=f"Models × devices: {len(found)} × {len(settings)}", subtitle="",
        verdict=f"{whole - unfit} of {whole} fit", tone="unsure" if unfit or failures else "good",
        summary="Unfit figures are marked; do not compare by them." if unfit else "",
        next_step="measure the unfit ones again on a quiet device." if unfit else "",
        sections=tuple(section for section in sections if section is not None),
    )  # fmt: skip


def _section(found: Mapping[str, Mapping[str, tuple[Mapping[str, Any], str]]],
             settings: Sequence[str], key: str, title: str, unit: str) -> Section | None:  # fmt: skip
    pairs = [(name, setting, *row[setting]) for name, row in found.items() for setting in row]
    known = [pair for pair in pairs if middle(pair[2].get(key)) is not None]
    if not known:
        return None
    shown = sorted(known, key=lambda pair: -(middle(pair[2].get(key)) or 0.0))[:60]
    ends = [cells.ends(pair[2].get(key)) for pair in shown]
    places = {setting: f"{i + 1}" for i, setting in enumerate(settings)}
    names = [f"{name} ({places[setting]})" if len(settings) > 1 else name
             for name, setting, _, _ in shown]  # fmt: skip
    plot = charts.bars(names, [middle(pair[2].get(key)) or 0.0 for pair in shown],
                       [e[0] for e in ends], [e[1] for e in ends], unit, what=title.lower(),
                       tips=[f"{name}: {setting}" for name, setting, _, _ in shown],
                       linked=True)  # fmt: skip
    place = {(name, setting): i for i, (name, setting, _, _) in enumerate(shown)}
    rows = tuple(
        Row((text(name), text(setting), estimate(model.get(key), unit), text(model.get("verdict")),
             _next_to_best(model, key, [m for n, _, m, _ in known if n == name])),
            path, place.get((name, setting)))
        for name, setting, model, path in known
    )  # fmt: skip
    columns = (Column("model", "name", False), Column("device and setting", "", False),
               Column(title.lower(), key), Column("verdict", "verdict", False),
               Column("to the best device"))  # fmt: skip
    tables = [Table(f"{key}-table", f"{title} of every model on every device", columns, rows, key)]
    if len(settings) > 1:
        grid = tuple(
            Row((text(name), *(estimate(row[s][0].get(key), unit) if s in row else NOTHING
                               for s in settings))) for name, row in found.items())  # fmt: skip
        heads = (Column("model", "", False),
                 *(Column(f"{places[s]}: {s}") for s in settings))  # fmt: skip
        tables.insert(0, Table(f"{key}-grid", f"{title}, models by devices", heads, grid))
    chart = Chart(key, f"{title}, with intervals", f"Bars of {title.lower()} of every model", plot,
                  f"{key}-table")  # fmt: skip
    return Section(f"{key}-section", title, charts=(chart,), tables=tuple(tables))


def _next_to_best(model: Mapping[str, Any], key: str, others: Sequence[Mapping[str, Any]]) -> Any:
    best = min((middle(other.get(key)) or 0.0 for other in others), default=0.0)
    value = middle(model.get(key))
    return cells.ratio(value / best) if best and value is not None else NOTHING
