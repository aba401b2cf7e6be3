"""The page of an audit: ``lwprof.audit/1``, written by ``lwprof audit --json``.

Needed: ``model.name``, ``baseline`` and ``transforms[].id``; of each transform ``applied``,
``reason``, ``macs``, ``params``, ``size_bytes``, ``latency_s``, ``ratio``, ``corrected_ratio``,
``verdict``, ``recommended``, ``output_error`` and ``predicted_latency_s`` are shown where present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, quantity, ratio, text
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table

_COLUMNS = (
    Column("technique", "technique", False), Column("verdict", "verdict", False),
    Column("latency ratio", "corrected_ratio"), Column("MACs ratio"),
    Column("latency", "latency_s"), Column("predicted", "predicted_latency_s"),
    Column("energy", "energy_j"), Column("MACs", "macs"), Column("parameters", "params"),
    Column("size", "size_bytes"), Column("peak memory", "peak_memory_bytes"),
    Column("output error", "output_error"), Column("equal outputs", "equivalent", False),
)  # fmt: skip


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of an audit."""
    transforms = [mapping(line) for line in items(data.get("transforms"))]
    faster = [t for t in transforms if t.get("verdict") == "faster"]
    recommended = [t for t in transforms if t.get("recommended")]
    name = cells.printable(mapping(data.get("model")).get("name"))
    applied = [t for t in transforms if t.get("applied")]
    sections = [_head(data), _techniques(transforms, mapping(data.get("baseline")))]
    refused = [t for t in transforms if not t.get("applied")]
    if refused:
        sections.append(_refused(refused))
    pays = ", ".join(cells.printable(t.get("id")) for t in recommended)
    return Page(
        title=f"What pays for {name} on {cells.printable(data.get('device'))}",
        subtitle=cells.setting(data),
        verdict=f"{len(faster)} of {len(applied)} faster",
        tone="good" if faster else "unsure",
        summary=f"Usable without training and proven faster: {pays}." if pays
        else "None is proven faster and usable without training.",
        next_step=f"apply {pays}." if pays else "",
        sections=tuple(sections),
        flags=tuple(cells.printable(flag) for flag in items(data.get("flags"))),
        facts=cells.context_facts(data),
    )  # fmt: skip


def _head(data: Mapping[str, Any]) -> Section:
    base = mapping(data.get("baseline"))
    wanted = (("latency", "latency_s", "s"), ("predicted latency", "predicted_latency_s", "s"),
              ("energy", "energy_j", "J"), ("MACs", "macs", ""), ("parameters", "params", ""),
              ("size", "size_bytes", "B"), ("peak memory", "peak_memory_bytes", "B"))  # fmt: skip
    figures = [Figure(label, estimate(base[key], unit), f"baseline.{key}")
               for label, key, unit in wanted if base.get(key) is not None]  # fmt: skip
    notes = [(f"Rounds of fresh processes: {cells.printable(data.get('rounds'))}. Output errors "
             f"are on {cells.printable(data.get('data'))} data.")]  # fmt: skip
    if data.get("pricing"):
        notes.append(f"No predictions: {cells.printable(data['pricing'])}")
    chain = mapping(data.get("chain"))
    if chain:
        steps = " → ".join(cells.printable(s) for s in items(chain.get("steps"))) or "nothing"
        outcome = {True: "meets", False: "does not meet"}.get(chain.get("meets"), "may meet")  # type: ignore[arg-type]
        limit = quantity(chain.get("limit_s"), "s").text
        notes.append(f"To reach {limit}: {steps} ({outcome} the limit).")
        if chain.get("latency_s"):
            figures.append(Figure("after the chain", estimate(chain["latency_s"], "s"),
                                  "chain.latency_s"))  # fmt: skip
    return Section("baseline", "The model as it is", tuple(figures), tuple(notes))


def _macs_ratio(line: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    macs, before = cells.number(line.get("macs")), cells.number(base.get("macs"))
    return macs / before if macs is not None and before else None


def _techniques(transforms: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> Section:
    xs: list[float] = []
    ys: list[float] = []
    lows: list[float] = []
    highs: list[float] = []
    names: list[str] = []
    rows: list[Row] = []
    applied = [(i, t) for i, t in enumerate(transforms) if t.get("applied")]
    applied.sort(key=lambda pair: middle(pair[1].get("ratio")) or 9e9)
    for index, line in applied:
        work = _macs_ratio(line, base)
        found = line.get("corrected_ratio") or line.get("ratio")
        value = middle(found)
        mark = None
        if work is not None and value is not None:
            low, high = cells.ends(found)
            mark = len(xs)
            xs.append(work)
            ys.append(value)
            lows.append(value if low is None else low)
            highs.append(value if high is None else high)
            names.append(str(line.get("id")))
        rows.append(Row((
            text(line.get("technique") or line.get("id")), text(line.get("verdict")),
            ratio(line.get("corrected_ratio")),
            NOTHING if work is None else Cell(f"{work:.3f} ×", work),
            estimate(line.get("latency_s"), "s"), estimate(line.get("predicted_latency_s"), "s"),
            estimate(line.get("energy_j"), "J"), quantity(line.get("macs"), ""),
            quantity(line.get("params"), ""), quantity(line.get("size_bytes"), "B"),
            quantity(line.get("peak_memory_bytes"), "B"), _error(line.get("output_error")),
            text({True: "yes", False: "no"}.get(line.get("equivalent"))),  # type: ignore[arg-type]
        ), f"transforms.{index}", mark))  # fmt: skip
    table = Table("technique-table", "Every technique that fits the model", _COLUMNS, tuple(rows),
                  "proxy")  # fmt: skip
    drawn: tuple[Chart, ...] = ()
    if xs:
        plot = charts.points(xs, ys, names, x="MACs, ratio to the original",
                             y="latency, ratio to the original", lows=lows, highs=highs,
                             linked=True)  # fmt: skip
        ends = [min([*xs, 1.0]), max([*xs, 1.0])]
        plot.line(ends, ends, color=charts.ORANGE, line_dash="dashed")
        plot.line([ends[0], ends[1]], [1, 1], color=charts.SOFT)
        drawn = (Chart("proxy", "Latency against MACs (dashed: where MACs would tell the truth)",
                       f"Scatter of {len(xs)} techniques, latency ratio against MACs ratio", plot,
                       "technique-table"),)  # fmt: skip
    note = ("Above the grey line a technique makes the model slower, whatever its MACs say. "
            "Intervals are widened for asking about many techniques at once.")  # fmt: skip
    return Section("techniques", "Techniques", notes=(note,), charts=drawn, tables=(table,))


def _error(value: Any) -> Cell:
    found = cells.number(value)
    return NOTHING if found is None else Cell(f"{found:.3g}", found)


def _refused(lines: Sequence[Mapping[str, Any]]) -> Section:
    columns = (Column("technique", "", False), Column("why not", "", False))
    rows = tuple(Row((text(line.get("technique") or line.get("id")), text(line.get("reason"))))
                 for line in lines)  # fmt: skip
    return Section("refused", "Not applied", tables=(
        Table("refused-table", "Techniques that do not fit this model", columns, rows),))  # fmt: skip
