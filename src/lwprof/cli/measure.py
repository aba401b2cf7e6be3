"""``lwprof measure``: the main job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.choices import DURATION, FRACTION, runtime_options, settings_from, store_option
from lwprof.cli.html import html_option, write_html
from lwprof.cli.output import (
    check_writable,
    console,
    printable,
    progress_lines,
    with_interval,
    write_json,
)
from lwprof.errors import RunError, UsageError
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from rich.console import Console

    from lwprof.profiler.session.fleet import FleetResult
    from lwprof.profiler.session.result import KernelResult, MeasurementResult, ModelResult

_SHOWN = 25


@click.command(name="measure")
@click.argument("models", nargs=-1)
@click.option(
    "--device", default="host", show_default=True, help="Device to measure on, or several: pi4,pi5."
)
@runtime_options
@click.option(
    "--budget",
    "budget_s",
    type=DURATION,
    help="Device time to spend (default: 3m per model, 20m for a campaign).",
)
@click.option(
    "--rel-ci",
    type=FRACTION,
    default=0.02,
    show_default=True,
    help="Stop when the latency's interval is this narrow, e.g. 0.02 or 2%.",
)
@click.option(
    "--energy/--no-energy",
    default=None,
    help="Measure energy (default: where the device has a sensor).",
)
@click.option("--rails", help="Power rails to read, by name, commas; 'total' insists on a total.")
@click.option(
    "--assume-power",
    "assumed_power_w",
    type=(float, float),
    metavar="IDLE BUSY",
    help="Without a sensor: estimate energy from these watts; marked simulated.",
)
@click.option("--kernels/--no-kernels", default=True, help="Measure kernels as well.")
@click.option(
    "--sustained",
    "sustained_s",
    type=DURATION,
    default=0.0,
    help="Load the device for this long and report the throttled steady state.",
)
@click.option(
    "--workloads-of",
    "workloads_of",
    multiple=True,
    help="Campaign: choose from these networks alone; repeatable.",
)
@store_option
@click.option("--fresh", is_flag=True, help="Ignore what the store knows; do not resume.")
@click.option("--seed", type=int, help="Seed of the visiting order.")
@click.option("--all", "show_all", is_flag=True, help="Show every kernel.")
@click.option("--json", "json_path", help="Write lwprof.measurement/1 to a file, or - for stdout.")
@html_option
@click.option("--trace", "trace_path", help="Write a Chrome/Perfetto trace of one run.")
def command(**options: Any) -> None:
    """Measure models and their kernels on a device.

    MODEL is an .onnx file, a zoo name, or - for standard input. Without MODEL, the device's
    lookup table is built from the networks that teach most about it within --budget.

    Example: lwprof measure mobilenet_v2 --device host --threads 1
    """  # fmt: skip
    from lwprof import api
    from lwprof.profiler.session.options import Effort

    json_path, trace_path = options.pop("json_path"), options.pop("trace_path")
    html_path = options.pop("html_path")
    check_writable(html_path)
    check_writable(json_path)
    check_writable(trace_path)
    settings = settings_from(options)
    models = list(options["models"])
    budget = options["budget_s"] or (180.0 * len(models) if models else 1200.0)
    effort = Effort(
        budget_s=budget + options["sustained_s"] * len(models),
        rel_ci=options["rel_ci"],
        kernels=options["kernels"],
        fresh=options["fresh"],
        sustained_s=options["sustained_s"],
        rails=tuple(name.strip() for name in (options["rails"] or "").split(",") if name.strip()),
        assumed_power_w=options["assumed_power_w"],
    )
    if trace_path and len(models) != 1:
        raise UsageError("--trace needs exactly one MODEL")
    devices = [name.strip() for name in options["device"].split(",")]
    check_devices(devices, trace_path)
    with progress_lines() as lines:
        fleet = api.run_fleet(
            models,
            devices=devices,
            settings=settings,
            effort=effort,
            energy=options["energy"],
            workloads_of=options["workloads_of"],
            store=options["store_url"],
            seed=options["seed"],
            progress=lambda name: lines(name if len(devices) > 1 else ""),
            announce=lambda text: click.echo(text, err=True),
        )
    if len(devices) > 1:
        write_html(fleet.to_json(), html_path)
        show_fleet(fleet, json_path, show_all=options["show_all"])
        return
    if fleet.failures:
        raise fleet.failures[0].error
    result = fleet.results[0]
    if trace_path:
        from lwprof.reports.trace import write_trace

        write_trace(result.models[0], trace_path)
    write_html(result.to_json(), html_path)
    if json_path:
        write_json(result.to_json(), json_path)
    if json_path != "-":
        show(result, console(), show_all=options["show_all"])


def check_devices(devices: Sequence[str], trace_path: str | None) -> None:
    """Refuses what cannot be measured together.

    Raises:
        UsageError: a device is named twice or not at all, or a trace is asked of several.
        DeviceUnknown: one of several is unknown; better told before the others have run.
    """
    if "" in devices or len(set(devices)) < len(devices):
        raise UsageError("--device takes one name, or several different ones: pi4,pi5,nano")
    if trace_path and len(devices) > 1:
        raise UsageError("--trace needs exactly one device")
    if len(devices) > 1:
        from lwprof.device_profiles import find_device

        for name in devices:
            find_device(name)


def show_fleet(fleet: FleetResult, json_path: str | None, *, show_all: bool = False) -> None:
    """Prints or writes the results of several devices.

    Raises:
        RunError: a device failed; what the others measured is written first.
    """
    if json_path:
        write_json(fleet.to_json(), json_path)
    if json_path != "-":
        for result in fleet.results:
            show(result, console(), show_all=show_all)
    if fleet.failures:
        lines = "; ".join(f"{f.device}: {printable(str(f.error), 200)}" for f in fleet.failures)
        total = len(fleet.failures) + len(fleet.results)
        raise RunError(f"{len(fleet.failures)} of {total} devices failed: {lines}")


def show(result: MeasurementResult, out: Console, *, show_all: bool = False) -> None:
    """Prints a result for people: per model a table of kernels, the total, and what to do next."""
    for model in result.models:
        _show_model(model, result, out, show_all)
    if result.kernels:
        total = sum(k.latency_s.value for k in result.kernels)
        _show_kernels(result.kernels, total, out, show_all, result.workloads)
        out.print(f"{len(result.kernels)} kernels in the lookup table of {result.device}")


def _show_model(model: ModelResult, result: MeasurementResult, out: Console, all_: bool) -> None:
    context = result.context
    out.print(
        f"{printable(model.name)} on {result.device}: {context['runtime']} "
        f"{context['runtime_version']}, {context['provider']}, "
        f"{context['threads']} thread{'s' if context['threads'] != 1 else ''}, "
        f"{context['environment']}",
        style="bold",
    )
    if model.kernels:
        _show_kernels(model.kernels, model.latency_s.value, out, all_)
    load = f"{with_interval(model.load_s, 's')}, {with_interval(model.first_inference_s, 's')}"
    work = f"{format_quantity(model.macs, '')} MACs, {format_quantity(model.params, '')} parameters"
    rows = [
        ("end to end", with_interval(model.latency_s, "s")),
        ("between kernels", with_interval(model.gap_s, "s") if model.gap_s else None),
        ("p95, p99", _percentiles(model)),
        ("load, first inference", load),
        ("peak memory", with_interval(model.peak_memory_bytes, "B")),
        ("energy", _energy(model)),
        ("work", work),
        ("closure", _closure(model)),
    ]
    if model.sustained is not None:
        rows.append(("sustained", str(model.sustained["summary"])))
    if model.schedule is not None:
        rows.append(("schedule", model.schedule))
    for label, text in rows:
        if text:
            out.print(f"  {label:<22}{text}")
    out.print(f"  {'verdict':<22}{_verdict(model)}")
    out.print(f"  {'next':<22}{_next_step(model)}")


def _show_kernels(
    kernels: tuple[KernelResult, ...],
    total_s: float,
    out: Console,
    all_: bool,
    workloads: Mapping[str, Any] | None = None,
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, side in (("share", "right"), ("latency", "right"), ("alone", "right"),
                        ("MACs", "right"), ("operators", "left"), ("from", "left")):  # fmt: skip
        table.add_column(title, justify=side, no_wrap=True)  # type: ignore[arg-type]
    ranked = sorted(kernels, key=lambda k: -k.latency_s.value)
    shown = ranked if all_ else ranked[:_SHOWN]
    for kernel in shown:
        share = kernel.latency_s.value / total_s if total_s else 0.0
        table.add_row(
            f"{'≤ ' if kernel.latency_s.at_most else ''}{share:.1%}",
            with_interval(kernel.latency_s, "s"),
            with_interval(kernel.isolated_latency_s, "s") if kernel.isolated_latency_s else "–",
            format_quantity(kernel.macs, ""),
            printable("+".join(kernel.operators), 28),
            printable(_origin(kernel, workloads), 32),
        )
    out.print(table)
    if len(shown) < len(ranked):
        rest = sum(k.latency_s.value for k in ranked[len(shown) :])
        out.print(
            f"  … {len(ranked) - len(shown)} more kernels, {format_quantity(rest, 's')} together "
            "(--all shows them)"
        )


def _origin(kernel: KernelResult, workloads: Mapping[str, Any] | None) -> str:
    """Where a kernel comes from: its first node, or its shapes when it belongs to no model."""
    if workloads is not None:
        found = workloads.get(kernel.workload, {})
        sides = [
            "×".join("?" if extent is None else str(extent) for extent in value["shape"] or ())
            for value in (*found.get("inputs", ())[:1], *found.get("outputs", ())[:1])
        ]
        return " → ".join(sides)
    return kernel.nodes[0] if kernel.nodes else "(inserted by the runtime)"


def _closure(model: ModelResult) -> str | None:
    if model.closure is None:
        return None
    total, error = format_quantity(model.closure.sum_s, "s"), model.closure.error
    return f"kernels + gap = {total}, {error:+.1%} of the end-to-end time beside them"


def _energy(model: ModelResult) -> str:
    energy = model.energy
    if energy.total is None:
        return f"unknown: {printable(energy.refused, 200) if energy.refused else 'no power sensor'}"
    above = format_quantity(energy.total.above_idle_j.value, "J")
    rails = ", ".join((energy.scope or {}).get("rails") or ["assumed power"])
    text = f"{with_interval(energy.total.energy_j, 'J')} ({above} above idle; {printable(rails)})"
    return f"{text}, simulated" if (energy.scope or {}).get("simulated") else text


def _percentiles(model: ModelResult) -> str | None:
    if model.latency_p95_s is None or model.latency_p99_s is None:
        return None
    p95, p99 = (format_quantity(e.value, "s") for e in (model.latency_p95_s, model.latency_p99_s))
    return f"{p95}, {p99}"


def _verdict(model: ModelResult) -> str:
    blocks = f"{model.latency_s.blocks} processes"
    if model.verdict == "ok":
        return f"ok ({blocks})"
    flags = f"; {', '.join(model.flags)}" if model.flags else ""
    return f"unfit: {model.reason} ({blocks}{flags})"


def _next_step(model: ModelResult) -> str:
    if model.verdict != "ok":
        return "stop what else runs on the device and measure again (lwprof devices doctor)"
    if model.latency_s.relative_half_width > 0.05:
        return "the interval is wide: give a larger --budget"
    if model.closure is not None and abs(model.closure.error) > 0.05:
        return "kernels do not add up to the whole: read them as shares, not as times"
    return f"compare it with another: lwprof compare {printable(model.name)} OTHER"
