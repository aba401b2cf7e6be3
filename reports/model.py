"""The page of a measurement: models on a device, or a campaign's kernels.

Reads ``lwprof.measurement/1``. Needed: ``models[].name`` and ``latency_s``; everything else is
shown where present. Shares are of ``closure.end_to_end_s``, the end-to-end time of the processes
that the kernels were timed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwprof.reports import cells, charts
from lwprof.reports.cells import NOTHING, estimate, items, mapping, middle, quantity, share, text
from lwprof.reports.limits import Limits, limits_of
from lwprof.reports.page import Cell, Chart, Column, Figure, Page, Row, Section, Table
from lwprof.reports.roofline import roofline

_BARS = 30
_KERNELS = (
    Column("#", "", True), Column("latency", "latency_s"), Column("share"),
    Column("operators", "operators", False), Column("from", "nodes", False),
    Column("alone", "isolated_latency_s"), Column("energy", "energy_j"),
    Column("MACs", "macs"), Column("bytes", "bytes"), Column("MACs/byte"), Column("MACs/s"),
    Column("limit", "", False), Column("times", "count"),
)  # fmt: skip


def page_of(data: Mapping[str, Any]) -> Page:
    """The page of one ``lwprof.measurement/1``."""
    models = [mapping(model) for model in items(data.get("models"))]
    limits = limits_of(data)
    sections: list[Section] = []
    for index, model in enumerate(models):
        sections += _model(model, index, limits, f"{cells.printable(model.get('name'))}: "
                           if len(models) > 1 else "")  # fmt: skip
    kernels = [mapping(kernel) for kernel in items(data.get("kernels"))]
    if kernels:
        sections.append(_campaign(kernels, mapping(data.get("workloads"))))
    fit = [m for m in models if m.get("verdict") == "ok"]
    flags = list(dict.fromkeys(str(f) for m in models for f in items(m.get("flags"))))
    good = len(fit) == len(models)
    names = ", ".join(cells.printable(model.get("name")) for model in models)
    return Page(
        title=f"{names or 'Kernels'} on {cells.printable(data.get('device'))}",
        subtitle=cells.setting(data),
        verdict="fit to use" if good else "unfit",
        tone="good" if good else "unsure",
        summary=_summary(models, kernels),
        next_step=_next(models),
        sections=tuple(sections),
        flags=tuple(cells.printable(flag) for flag in flags),
        facts=cells.context_facts(data),
    )


def _summary(models: Sequence[Mapping[str, Any]], kernels: Sequence[Any]) -> str:
    if not models:
        return f"{len(kernels)} kernels measured for the lookup table."
    parts = []
    for model in models[:3]:
        cell = estimate(model.get("latency_s"), "s")
        energy = estimate(model.get("energy_j"), "J")
        joules = f", {energy.text}" if energy.value is not None else ""
        name = f"{cells.printable(model.get('name'))}: " if len(models) > 1 else ""
        parts.append(f"{name}{cell.text} ({cell.interval}) for one inference{joules}.")
    return " ".join(parts)


def _next(models: Sequence[Mapping[str, Any]]) -> str:
    if any(model.get("verdict") != "ok" for model in models):
        return "stop what else runs on the device and measure again (lwprof devices doctor)."
    for model in models:
        value = middle(model.get("latency_s"))
        low, high = cells.ends(model.get("latency_s"))
        if value and (low is None or high is None or (high - low) / value > 0.1):
            return "the interval is wide: measure again with a larger --budget."
        error = cells.number(mapping(model.get("closure")).get("error"))
        if error is not None and abs(error) > 0.05:
            return "kernels do not add up to the whole: read them as shares, not as times."
    if models:
        name = cells.printable(models[0].get("name"))
        return f"ask which technique pays here (lwprof audit {name}), or compare with another."
    return "fit the device's predictors: lwprof fit."


def _model(model: Mapping[str, Any], index: int, limits: Limits, prefix: str) -> list[Section]:
    path, id = f"models.{index}", f"m{index}"
    kernels = [mapping(kernel) for kernel in items(model.get("kernels"))]
    whole = whole_s(model)
    sections = [_head(model, path, id, prefix)]
    if kernels:
        sections += [
            _kernels(kernels, whole, path, id, prefix, limits),
            _types(kernels, whole, id, prefix),
            _timeline(kernels, model, id, prefix),
        ]
        roof = roofline(kernels, limits, f"{id}-roof", f"{id}-kernel-table")
        if roof is not None:
            sections.append(Section(f"{id}-roofline", f"{prefix}Roofline", notes=roof.notes,
                                    charts=(roof.chart,)))  # fmt: skip
        energy = _energy(kernels, model, path, id, prefix)
        if energy is not None:
            sections.append(energy)
    blocks = [mapping(block) for block in items(model.get("blocks"))]
    if blocks:
        sections.append(_blocks(blocks, path, id, prefix))
    return sections


def whole_s(model: Mapping[str, Any]) -> float | None:
    """The time that shares are of."""
    closed = cells.number(mapping(model.get("closure")).get("end_to_end_s"))
    return closed if closed else middle(model.get("latency_s"))


def _head(model: Mapping[str, Any], path: str, id: str, prefix: str) -> Section:
    wanted = (
        ("end to end", "latency_s", "s"), ("95th percentile", "latency_p95_s", "s"),
        ("99th percentile", "latency_p99_s", "s"), ("energy", "energy_j", "J"),
        ("energy above idle", "energy_above_idle_j", "J"), ("power", "power_w", "W"),
        ("idle power", "idle_power_w", "W"), ("peak memory", "peak_memory_bytes", "B"),
        ("between kernels", "gap_s", "s"), ("load", "load_s", "s"),
        ("first inference", "first_inference_s", "s"), ("MACs", "macs", ""),
        ("parameters", "params", ""),
    )  # fmt: skip
    figures = [
        Figure(label, estimate(model.get(key), unit), f"{path}.{key}")
        for label, key, unit in wanted if model.get(key) is not None
    ]  # fmt: skip
    closure = mapping(model.get("closure"))
    if closure:
        figures += [
            Figure("kernels + gap", quantity(closure.get("sum_s"), "s"), f"{path}.closure.sum_s"),
            Figure("closure error", share(closure.get("error")), f"{path}.closure.error",
                   "of the end-to-end time beside the kernels"),
        ]  # fmt: skip
    notes = []
    if model.get("verdict") != "ok":
        notes.append(f"Unfit to compare or to gate: {cells.printable(model.get('reason'))}.")
    if model.get("energy_j") is None:
        reason = model.get("energy_refused") or "no power sensor"
        notes.append(f"Energy is unknown: {cells.printable(reason)}.")
    scope = mapping(model.get("energy_scope"))
    if scope:
        notes.append("The joules' scope: " + "; ".join(
            f"{cells.printable(k)} {cells.printable(v)}" for k, v in scope.items()))  # fmt: skip
    for key in ("schedule", "sustained"):
        value = mapping(model.get(key)).get("summary", model.get(key))
        if value:
            notes.append(f"{key.capitalize()}: {cells.printable(value)}")
    notes.append(f"Model SHA-256: {cells.printable(model.get('sha256'))}")
    return Section(id, f"{prefix}At a glance", tuple(figures), tuple(notes))


def _kernels(kernels: Sequence[Mapping[str, Any]], whole: float | None, path: str, id: str,
             prefix: str, limits: Limits) -> Section:  # fmt: skip
    order = sorted(range(len(kernels)), key=lambda i: -(spent_s(kernels[i]) or 0.0))
    top = order[:_BARS]
    mark = {kernel: place for place, kernel in enumerate(top)}
    rows = tuple(
        Row(_kernel_cells(kernels[i], i, whole, limits), f"{path}.kernels.{i}", mark.get(i))
        for i in order
    )
    ends = [cells.ends(kernels[i].get("latency_s")) for i in top]
    plot = charts.bars(
        [f"{i + 1} {operators(kernels[i])}" for i in top],
        [middle(kernels[i].get("latency_s")) or 0.0 for i in top],
        [low for low, _ in ends], [high for _, high in ends], "s", what="latency",
        tips=[f"{i + 1} {operators(kernels[i])} {origin(kernels[i])}" for i in top], linked=True,
    )  # fmt: skip
    rest = sum(spent_s(kernels[i]) or 0.0 for i in order[_BARS:])
    notes = ["Choose a row or a bar to find it in the other."]
    if len(order) > _BARS:
        left = f"{len(order) - _BARS} more kernels take {quantity(rest, 's').text} together"
        notes.append(f"{left}; all are in the table.")
    chart = Chart(f"{id}-bars", "The slowest kernels",
                  f"Bars of the {len(top)} slowest kernels' latencies with intervals", plot,
                  f"{id}-kernel-table")  # fmt: skip
    table = Table(f"{id}-kernel-table", f"{prefix}Kernels as the runtime executed them", _KERNELS,
                  rows, f"{id}-bars")  # fmt: skip
    return Section(f"{id}-kernels", f"{prefix}Kernels", (), tuple(notes), (chart,), (table,))


def _kernel_cells(kernel: Mapping[str, Any], place: int, whole: float | None,
                  limits: Limits) -> tuple[Cell, ...]:  # fmt: skip
    seconds, spent = middle(kernel.get("latency_s")), spent_s(kernel)
    macs, size = cells.number(kernel.get("macs")), cells.number(kernel.get("bytes"))
    at_most = mapping(kernel.get("latency_s")).get("at_most") is True
    part = share(_short(spent / whole)) if spent is not None and whole else NOTHING
    if at_most and part.value is not None:
        part = Cell(f"≤ {part.text}", part.value)
    intensity = Cell(f"{macs / size:.2f}", _short(macs / size)) if macs and size else NOTHING
    rate = quantity(_short(macs / seconds), "") if macs and seconds and seconds > 0 else NOTHING
    return (
        Cell(str(place + 1), place + 1), estimate(kernel.get("latency_s"), "s"), part,
        text(operators(kernel)), text(origin(kernel)),
        estimate(kernel.get("isolated_latency_s"), "s"), estimate(kernel.get("energy_j"), "J"),
        quantity(macs, ""), quantity(size, "B"), intensity, rate,
        Cell(limits.side(macs, size)), quantity(kernel.get("count"), ""),
    )  # fmt: skip


def _short(value: float) -> float:
    """Six digits of what the page computes itself; what was measured keeps all of its own."""
    return float(f"{value:.6g}")


def operators(kernel: Mapping[str, Any]) -> str:
    """The operator types of a kernel, joined."""
    return "+".join(cells.printable(op) for op in items(kernel.get("operators")))


def origin(kernel: Mapping[str, Any]) -> str:
    """The original nodes of a kernel."""
    nodes = [cells.printable(node) for node in items(kernel.get("nodes"))]
    return ", ".join(nodes) if nodes else "(inserted by the runtime)"


def spent_s(kernel: Mapping[str, Any]) -> float | None:
    """What a kernel takes of one inference."""
    value, count = middle(kernel.get("latency_s")), cells.number(kernel.get("count"))
    return None if value is None else max(0.0, value) * (count or 1)


def _types(kernels: Sequence[Mapping[str, Any]], whole: float | None, id: str,
           prefix: str) -> Section:  # fmt: skip
    found: dict[str, list[float]] = {}
    for kernel in kernels:
        entry = found.setdefault(operators(kernel), [0.0, 0, 0])
        entry[0] += spent_s(kernel) or 0.0
        entry[1] += 1
        entry[2] += cells.number(kernel.get("macs")) or 0
    names = sorted(found, key=lambda name: -found[name][0])
    rows = tuple(
        Row((text(name), quantity(found[name][0], "s"),
             share(_short(found[name][0] / whole)) if whole else NOTHING,
             Cell(str(found[name][1]), found[name][1]), quantity(found[name][2], "")), mark=place)
        for place, name in enumerate(names)
    )  # fmt: skip
    none: list[float | None] = [None] * len(names[:_BARS])
    plot = charts.bars(names[:_BARS], [found[n][0] for n in names[:_BARS]], none, none, "s",
                       what="time", linked=True)  # fmt: skip
    chart = Chart(f"{id}-types", "Time by operator type", "Bars of the time by operator type",
                  plot, f"{id}-type-table")  # fmt: skip
    columns = (Column("operators", "", False), Column("time"), Column("share"), Column("kernels"),
               Column("MACs"))  # fmt: skip
    table = Table(f"{id}-type-table", f"{prefix}Time by operator type", columns, rows,
                  f"{id}-types", True)  # fmt: skip
    return Section(f"{id}-where", f"{prefix}Where it goes", charts=(chart,), tables=(table,))


def _timeline(kernels: Sequence[Mapping[str, Any]], model: Mapping[str, Any], id: str,
              prefix: str) -> Section:  # fmt: skip
    gap = (middle(model.get("gap_s")) or 0.0) / len(kernels)
    now, starts, lengths = 0.0, [], []
    for kernel in kernels:
        starts.append(now)
        lengths.append(spent_s(kernel) or 0.0)
        now += lengths[-1] + max(0.0, gap)
    names = [f"{i + 1} {operators(k)} {origin(k)}" for i, k in enumerate(kernels)]
    plot = charts.lanes(starts, lengths, [operators(k) for k in kernels], names)
    chart = Chart(f"{id}-lane", "One inference, kernel after kernel",
                  f"{len(kernels)} kernels in the order of execution", plot,
                  f"{id}-kernel-table")  # fmt: skip
    note = "Mean times over the profiled processes, laid end to end with the measured gap between."
    return Section(f"{id}-timeline", f"{prefix}Timeline", notes=(note,), charts=(chart,))


def _energy(kernels: Sequence[Mapping[str, Any]], model: Mapping[str, Any], path: str, id: str,
            prefix: str) -> Section | None:  # fmt: skip
    known = [i for i, k in enumerate(kernels) if middle(k.get("energy_j")) is not None]
    if not known:
        return None
    known.sort(key=lambda i: -(middle(kernels[i].get("energy_j")) or 0.0))
    top = known[:_BARS]
    ends = [cells.ends(kernels[i].get("energy_j")) for i in top]
    plot = charts.bars([f"{i + 1} {operators(kernels[i])}" for i in top],
                       [middle(kernels[i].get("energy_j")) or 0.0 for i in top],
                       [e[0] for e in ends], [e[1] for e in ends], "J", what="energy",
                       linked=True)  # fmt: skip
    columns = (Column("#"), Column("operators", "operators", False), Column("energy", "energy_j"),
               Column("above idle", "energy_above_idle_j"))  # fmt: skip
    rows = tuple(
        Row((Cell(str(i + 1), i + 1), text(operators(kernels[i])),
             estimate(kernels[i].get("energy_j"), "J"),
             estimate(kernels[i].get("energy_above_idle_j"), "J")),
            f"{path}.kernels.{i}", place if place < _BARS else None)
        for place, i in enumerate(known)
    )  # fmt: skip
    notes = []
    closure = mapping(model.get("energy_closure"))
    if closure:
        notes.append(f"Kernels sum to {estimate(closure.get('sum_j'), 'J').text} against "
                     f"{estimate(closure.get('end_to_end_j'), 'J').text} of the whole.")  # fmt: skip
    chart = Chart(f"{id}-joules", "Energy of one execution", "Bars of energy by kernel", plot,
                  f"{id}-joule-table")  # fmt: skip
    table = Table(f"{id}-joule-table", f"{prefix}Energy by kernel", columns, rows, f"{id}-joules",
                  True)  # fmt: skip
    return Section(f"{id}-energy", f"{prefix}Energy", (), tuple(notes), (chart,), (table,))


def _blocks(blocks: Sequence[Mapping[str, Any]], path: str, id: str, prefix: str) -> Section:
    columns = (Column("process"), Column("median", "median_s"), Column("iterations", "n"),
               Column("flags", "flags", False))  # fmt: skip
    rows = tuple(
        Row((Cell(str(i + 1), i + 1), quantity(block.get("median_s"), "s"),
             quantity(block.get("n"), ""),
             text(", ".join(str(flag) for flag in items(block.get("flags"))))),
            f"{path}.blocks.{i}", i)
        for i, block in enumerate(blocks)
    )  # fmt: skip
    medians = [cells.number(block.get("median_s")) or 0.0 for block in blocks]
    factor, unit = charts.scale_of(medians, "s")
    plot = charts.points(
        list(range(1, len(blocks) + 1)), [m * factor for m in medians],
        [", ".join(str(f) for f in items(b.get("flags"))) or "no flag" for b in blocks],
        x="process", y=f"median, {unit}", linked=True,
        colours=[charts.ORANGE if items(b.get("flags")) else charts.BLUE for b in blocks],
    )  # fmt: skip
    chart = Chart(f"{id}-drift", "Each process's median, in order (orange: flagged)",
                  "Points of the medians of fresh processes in order", plot,
                  f"{id}-block-table")  # fmt: skip
    table = Table(f"{id}-block-table", f"{prefix}Raw values of the fresh processes", columns, rows,
                  f"{id}-drift", True)  # fmt: skip
    return Section(f"{id}-blocks", f"{prefix}Raw values", charts=(chart,), tables=(table,))


def _campaign(kernels: Sequence[Mapping[str, Any]], workloads: Mapping[str, Any]) -> Section:
    def shapes(kernel: Mapping[str, Any]) -> str:
        known = mapping(workloads.get(str(kernel.get("workload"))))
        return " → ".join(
            "×".join(str(extent) for extent in items(mapping(value).get("shape")))
            for value in (*items(known.get("inputs"))[:1], *items(known.get("outputs"))[:1])
        )

    columns = (Column("operators", "operators", False), Column("shapes", "", False),
               Column("latency", "latency_s"), Column("alone", "isolated_latency_s"),
               Column("MACs", "macs"), Column("bytes", "bytes"))  # fmt: skip
    rows = tuple(
        Row((text(operators(k)), text(shapes(k)), estimate(k.get("latency_s"), "s"),
             estimate(k.get("isolated_latency_s"), "s"), quantity(k.get("macs"), ""),
             quantity(k.get("bytes"), "B")), f"kernels.{i}")
        for i, k in enumerate(kernels)
    )  # fmt: skip
    table = Table("campaign-table", "Kernels of the lookup table", columns, rows)
    return Section("campaign", "Lookup table", tables=(table,))
