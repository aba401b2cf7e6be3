"""The page of a comparison: ``lwprof.comparison/1``, and what changed by kernel.

A comparison times whole models; kernels are compared where the two sides' measurements
(``lwprof.measurement/1`` of one model each) are given beside it. Kernels are matched by workload:
equal work has equal keys in any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, quantity, ratio, text
from lwprof.reports.model import operators, spent_s
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table

_BARS = 30
_TONES = {"same": "good", "different": "bad", "unfit": "unsure"}


def page_of(
    data: Mapping[str, Any],
    a: Mapping[str, Any] | None = None,
    b: Mapping[str, Any] | None = None,
) -> Page:
    """The page of a comparison.

    Args:
        a, b: measurements of the two sides, for what changed by kernel.
    """
    side_a, side_b = mapping(data.get("a")), mapping(data.get("b"))
    names = [cells.printable(side.get("name")) for side in (side_a, side_b)]
    verdict = str(data.get("verdict"))
    value = middle(data.get("ratio"))
    tone = (
        "good" if verdict == "different" and value and value < 1 else _TONES.get(verdict, "unsure")
    )
    sections = [_figures(data), _picture(data), _sides(side_a, side_b)]
    changed = _kernels(a, b)
    if changed is not None:
        sections.append(changed)
    return Page(
        title=f"{names[1]} against {names[0]}", subtitle=cells.setting({**side_a, **data}),
        verdict=cells.printable(verdict), tone=tone, summary=_summary(data, names),
        next_step=_next(data), sections=tuple(sections),
        flags=tuple(cells.printable(flag) for flag in items(data.get("flags"))),
        facts=cells.context_facts({**side_a, **data}),
    )  # fmt: skip


def _summary(data: Mapping[str, Any], names: list[str]) -> str:
    cell = ratio(data.get("ratio"))
    said = f"{names[1]} takes {cell.text} ({cell.interval}) the latency of {names[0]}."
    if data.get("verdict") == "unfit":
        said += f" That decides nothing: {cells.printable(data.get('reason'))}."
    outcome = mapping(data.get("gate")).get("outcome")
    return said + (f" Gate: {cells.printable(outcome)}." if outcome else "")


def _next(data: Mapping[str, Any]) -> str:
    if data.get("verdict") == "unfit":
        return "quieten the device (lwprof devices doctor) or give a larger --budget."
    return ""


def _figures(data: Mapping[str, Any]) -> Section:
    ratios = mapping(data.get("ratios"))
    figures = [Figure("latency, B to A", ratio(data.get("ratio")), "ratio")]
    for key, name in (("energy_j", "energy, B to A"), ("peak_memory_bytes", "memory, B to A")):
        if ratios.get(key) is not None:
            figures.append(Figure(name, ratio(ratios[key]), f"ratios.{key}"))
    figures += [
        Figure("counts as the same within", cells.share(data.get("margin")), "margin"),
        Figure("smallest effect it would find", cells.share(data.get("minimum_detectable_effect")),
               "minimum_detectable_effect"),
        Figure("pairs of fresh processes", quantity(data.get("pairs"), ""), "pairs"),
    ]  # fmt: skip
    value = cells.number(data.get("p_value"))
    if value is not None:
        figures.append(Figure("p value", Cell(f"{value:.3g}", value), "p_value",
                              "chance of such a difference between equals"))  # fmt: skip
    notes = [
        (
            "Fresh processes are the samples, not iterations. Of equal models at most 5 % are "
            "called different by the interval; the margin lowers that further."
        )
    ]
    for name, gate in mapping(data.get("gate")).items():
        if isinstance(gate, Mapping):
            limit, outcome = ratio(gate.get("limit")).text, cells.printable(gate.get("outcome"))
            notes.append(f"Gate on {cells.printable(name)}, at most {limit}: {outcome}.")
    return Section("verdict", "Verdict", tuple(figures), tuple(notes))


def _picture(data: Mapping[str, Any]) -> Section:
    names = {"latency_s": "latency", "energy_j": "energy", "peak_memory_bytes": "peak memory"}
    ratios = {"latency_s": data.get("ratio"), **mapping(data.get("ratios"))}
    known = [key for key in names if middle(ratios.get(key)) is not None]
    ends = [cells.ends(ratios[key]) for key in known]
    plot = charts.bars([names[key] for key in known], [middle(ratios[key]) or 0.0 for key in known],
                       [e[0] for e in ends], [e[1] for e in ends], "", what="ratio, B to A")  # fmt: skip
    plot.line([1, 1], [-len(known) + 0.4, 0.6], color=charts.ORANGE, line_dash="dashed")
    rows = tuple(Row((text(names[key]), ratio(ratios[key])), f"ratios.{key}") for key in known)
    table = Table("ratio-table", "Ratios with their intervals",
                  (Column("quantity", "", False), Column("B to A")), rows, folded=True)  # fmt: skip
    chart = Chart("ratios", "Ratios (dashed: equal)", "Bars of the ratios with intervals", plot,
                  "ratio-table")  # fmt: skip
    return Section("ratio", "Ratios", charts=(chart,), tables=(table,))


def _sides(a: Mapping[str, Any], b: Mapping[str, Any]) -> Section:
    units = {"latency_s": "s", "energy_j": "J", "energy_above_idle_j": "J", "power_w": "W",
             "peak_memory_bytes": "B"}  # fmt: skip
    rows = []
    for key in dict.fromkeys([*a, *b]):
        pair = [side.get(key) for side in (a, b)]
        if key == "context":
            contexts = [mapping(value) for value in pair]
            for name in dict.fromkeys([*contexts[0], *contexts[1]]):
                values = [c.get(name) for c in contexts]
                if values[0] != values[1] and not isinstance(values[0], Mapping):
                    rows.append(Row((text(name), text(values[0]), text(values[1]))))
        elif any(isinstance(value, Mapping) for value in pair) or key in units:
            shown = [estimate(value, units.get(key, "")) for value in pair]
            rows.append(Row((text(key), *shown)))
        else:
            rows.append(Row((text(key), text(pair[0]), text(pair[1]))))
    columns = (Column("field", "", False), Column("A", "a", False), Column("B", "b", False))
    return Section("sides", "The two sides", tables=(
        Table("side-table", "What was compared; of the settings, those that differ", columns,
              tuple(rows)),))  # fmt: skip


def by_workload(data: Mapping[str, Any]) -> dict[str, tuple[str, float, int]]:
    """Of one model's measurement: workload → operators, seconds in one inference, kernels."""
    models = items(data.get("models"))
    found: dict[str, tuple[str, float, int]] = {}
    for kernel in items(mapping(models[0]).get("kernels")) if models else ():
        kernel = mapping(kernel)
        key, seconds = str(kernel.get("workload")), spent_s(kernel) or 0.0
        _, before, count = found.get(key, ("", 0.0, 0))
        found[key] = (operators(kernel), before + seconds, count + 1)
    return found


def _kernels(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> Section | None:
    if a is None or b is None:
        return None
    ours, theirs = by_workload(a), by_workload(b)
    changes = []
    for key in dict.fromkeys([*ours, *theirs]):
        name = (ours.get(key) or theirs[key])[0]
        before = ours.get(key, ("", 0.0, 0))
        after = theirs.get(key, ("", 0.0, 0))
        changes.append((after[1] - before[1], name, before, after))
    changes.sort(key=lambda change: -abs(change[0]))
    if not changes:
        return None
    top = changes[:_BARS]
    none: list[float | None] = [None] * len(top)
    plot = charts.bars([f"{i + 1} {c[1]}" for i, c in enumerate(top)], [c[0] for c in top], none,
                       none, "s", what="B − A in one inference", linked=True, signed=True)  # fmt: skip
    columns = (Column("#"), Column("operators", "", False), Column("A"), Column("B"),
               Column("B − A"), Column("kernels A"), Column("kernels B"))  # fmt: skip
    rows = tuple(
        Row((Cell(str(i + 1), i + 1), text(name), quantity(before[1], "s") if before[2] else NOTHING,
             quantity(after[1], "s") if after[2] else NOTHING, quantity(change, "s"),
             Cell(str(before[2]), before[2]), Cell(str(after[2]), after[2])),
            mark=i if i < _BARS else None)
        for i, (change, name, before, after) in enumerate(changes)
    )  # fmt: skip
    chart = Chart("changes", "What changed most", "Bars of the change in time by workload", plot,
                  "change-table")  # fmt: skip
    note = ("Equal work is put together, wherever it stands in a model. These are differences of "
            "means without intervals: they say where to look, the verdict above says what is so.")  # fmt: skip
    return Section("kernels", "What changed by kernel", notes=(note,), charts=(chart,), tables=(
        Table("change-table", "Time by workload", columns, rows, "changes"),))  # fmt: skip
