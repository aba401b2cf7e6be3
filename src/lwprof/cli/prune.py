"""``lwprof prune``: removes channels until a network meets a budget on a device."""

from __future__ import annotations

from typing import Any

import click

from lwprof.cli.choices import context_options, store_option
from lwprof.cli.html import html_option, write_html
from lwprof.cli.output import (
    check_writable,
    console,
    printable,
    progress_line,
    with_interval,
    write_json,
)
from lwprof.units import format_quantity, parse_duration, parse_energy, parse_size

UNITS = {"latency_s": "s", "energy_j": "J", "peak_memory_bytes": "B"}


@click.command(name="prune")
@click.argument("model")
@click.option("--device", default="host", show_default=True, help="Where the budget must hold.")
@click.option("--latency", help="Budget such as 30ms.")
@click.option("--energy", help="Budget such as 50mJ.")
@click.option("--memory", help="Budget of peak activation memory, such as 320KiB.")
@click.option(
    "--saliency",
    default="l2",
    show_default=True,
    help="l1, l2, taylor, random, obd, entropy, discrimination, structured-sparsity.",
)
@click.option("--selector", help="uniform, global, per-cost, netadapt, amc, knapsack, genetic.")
@click.option("--calibration", help=".npz of batches by input name, perhaps with labels.")
@click.option("--recover", help="script.py:function that retrains a ModelProto.")
@click.option("--eval", "evaluate", help="script.py:function: accuracy of a ModelProto.")
@click.option("--predict-only", is_flag=True, help="Touch no device; the cost model alone answers.")
@click.option(
    "--step",
    type=click.IntRange(1),
    help="Remove channels in multiples of this (default: 8; 1 for --memory).",
)
@click.option("--budget", default="60s", show_default=True, help="Device time per measurement.")
@click.option("--resume", "state", help="A file that keeps measurements; a run cut off goes on.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", "-o", "output", help="Write the pruned network here.")
@context_options
@store_option
@click.option("--json", "json_path", help="Write lwprof.prune/1 to a file, or - for stdout.")
@html_option
def command(model: str, latency: str | None, energy: str | None, memory: str | None,
            calibration: str | None, recover: str | None, evaluate: str | None, budget: str,
            json_path: str | None, html_path: str | None, store_url: str | None,
            **options: Any) -> int:  # fmt: skip
    """Prune MODEL to a budget on a device: measured, unless --predict-only.

    Exits 3 where the budget cannot be met; the smallest value that can is printed.

    Example: lwprof prune mobilenet_v2 --device pi4 --latency 30ms -o small.onnx
    """
    from lwprof.compression.pruning.script import load_function
    from lwprof.pruning import prune, read_calibration

    for path in (json_path, html_path, options["output"], options["state"]):
        check_writable(path)
    feeds, labels = read_calibration(calibration) if calibration else ([], None)
    with progress_line() as progress:
        result = prune(
            model, latency_s=parse_duration(latency) if latency else None,
            energy_j=parse_energy(energy) if energy else None,
            peak_memory_bytes=parse_size(memory) if memory else None,
            calibration=feeds, labels=labels,
            recover=load_function(recover) if recover else None,
            evaluate=load_function(evaluate) if evaluate else None,
            budget_s=parse_duration(budget), store=store_url, progress=progress,
            **{key: value for key, value in options.items() if value is not None},
        )  # fmt: skip
    if json_path:
        write_json(result.to_json(), json_path)
    write_html(result.to_json(), html_path)
    if json_path != "-":
        _show(result)
    return 0 if result.feasible else 3


def _show(result: Any) -> None:
    from rich.table import Table

    unit = UNITS[result.quantity]
    table = Table(box=None, pad_edge=False)
    for title in ("", "predicted", "measured", "MACs", "parameters", "output error", "accuracy"):
        table.add_column(title, justify="left" if not title else "right")
    named = [("whole", result.before), *((f"round {i + 1}", s) for i, s in enumerate(result.steps))]
    for name, step in named:
        table.add_row(
            f"{name} ←" if step is result.after else name,
            format_quantity(step.predicted, unit), with_interval(step.measured, unit)
            if step.measured else "–", format_quantity(step.macs, ""),
            format_quantity(step.params, ""), f"{step.output_error:.3f}",
            "–" if step.accuracy is None else f"{step.accuracy:.4f}",
        )  # fmt: skip
    out = console()
    out.print(table)
    limit = format_quantity(result.limit, unit)
    if result.feasible:
        where = f"; written to {result.model_path}" if result.model_path else ""
        out.print(f"{printable(result.name)} meets {limit} on {result.device}{where} "
                  f"(prices: {result.priced_by})")  # fmt: skip
    else:
        least = format_quantity(result.minimum, unit)
        out.print(f"{printable(result.name)} cannot be pruned to {limit} on {result.device}: "
                  f"the least that can be reached is {least}")  # fmt: skip
    if result.refused:
        out.print(f"left alone: {len(result.refused)} operators (--json names them)")
