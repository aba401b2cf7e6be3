"""``lwprof search``: architectures of high merit within limits on latency, energy and memory."""

from __future__ import annotations

from typing import Any

import click

from lwprof.cli.choices import FRACTION, context_options, store_option
from lwprof.cli.html import html_option, write_html
from lwprof.cli.output import check_writable, console, printable, progress_line, write_json
from lwprof.errors import RunError, UsageError
from lwprof.units import format_quantity, parse_duration, parse_energy, parse_size

UNITS = {"latency_s": "s", "energy_j": "J", "peak_memory_bytes": "B", "size_bytes": "B"}


@click.command(name="search")
@click.argument("space_argument", metavar="SPACE", required=False)
@click.option("--space", help="A space's name, FILE.csv, or script.py:Class (as SPACE).")
@click.option("--device", "devices", multiple=True, help="Whose costs count; repeatable. [host]")
@click.option("--latency", multiple=True, metavar="[p99:]TIME[@DEVICE]",
              help="Limit such as 30ms, p99:30ms, or 30ms@pi4; repeatable.")  # fmt: skip
@click.option("--energy", help="Limit on energy, such as 50mJ.")
@click.option("--peak-memory", help="Limit on activation memory, such as 320KiB.")
@click.option("--size", help="Limit on the model's size, such as 1MiB.")
@click.option("--probability", type=FRACTION, help="With which limits must hold, such as 95%.")
@click.option("--merit", help="FILE.csv[:column], script.py:function, or macs.")
@click.option("--strategy", default="evolution", show_default=True, help="See docs/search.md.")
@click.option("--evaluations", type=click.IntRange(1), default=2000, show_default=True,
              help="Architectures whose merit may be asked for.")  # fmt: skip
@click.option("--verify", type=click.IntRange(0), default=0, help="Finalists to measure.")
@click.option("--table", "tables", multiple=True, help="A saved block table for each device.")
@click.option("--resume", help="A file that keeps the state; a search cut off goes on from it.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", "-o", "output", help="Write the best architecture as ONNX.")
@context_options
@store_option
@click.option("--json", "json_path", help="Write lwprof.search/1 to a file, or - for stdout.")
@html_option
def command(space_argument: str | None, space: str | None, devices: tuple[str, ...],
            latency: tuple[str, ...], energy: str | None, peak_memory: str | None,
            size: str | None, output: str | None, json_path: str | None, store_url: str | None,
            probability: float | None, **options: Any) -> None:  # fmt: skip
    """Search a space for the best architecture that meets every limit on the device.

    Example: lwprof search nasbench201 --device pi4 --latency 30ms --merit accuracy.csv --verify 5
    """
    from lwprof.searching import search_architectures

    name = space or space_argument
    if not name:
        raise UsageError("which space? lwprof search nasbench201 --device host --latency 30ms …")
    html_path = options.pop("html_path")
    check_writable(json_path)
    check_writable(html_path)
    check_writable(output)
    check_writable(options["resume"])
    limits, quantiles = _limits(latency, energy, peak_memory, size)
    chances = {**dict.fromkeys(limits, probability), **quantiles}
    choice = {key: options.pop(key) for key in
              ("runtime", "provider", "threads", "precision", "power_mode")}  # fmt: skip
    with progress_line() as progress:
        result = search_architectures(
            name, devices or ("host",), limits=limits, probability=chances,
            store=store_url, progress=progress, **options, **choice,
        )  # fmt: skip
    if json_path:
        write_json(result.to_json(), json_path)
    write_html(result.to_json(), html_path)
    if json_path != "-":
        _show(result)
    if result.best is None:
        raise RunError(_least(result))
    if output:
        _write(name, result, output)


def _limits(latency: tuple[str, ...], energy: str | None, memory: str | None,
            size: str | None) -> tuple[dict[str, float], dict[str, float]]:  # fmt: skip
    """SI limits by quantity, and the probabilities that ``p99:`` asks of some of them."""
    found: dict[str, float] = {}
    quantiles: dict[str, float] = {}
    for text in latency:
        value, _, device = text.partition("@")
        name = f"latency@{device}" if device else "latency"
        if name in found:
            raise UsageError(f"--latency {text}: {name} has a limit already")
        quantile, colon, rest = value.partition(":")
        if colon:
            quantiles[name], value = _share(quantile, text), rest
        found[name] = parse_duration(value)
    if energy:
        found["energy"] = parse_energy(energy)
    if memory:
        found["peak_memory"] = float(parse_size(memory))
    if size:
        found["size"] = float(parse_size(size))
    return found, quantiles


def _share(quantile: str, text: str) -> float:
    """0.99 of ``p99``, 0.05 of ``p5``, 0.999 of ``p99.9``."""
    try:
        share = float(quantile.removeprefix("p")) / 100
    except ValueError:
        share = 0.0
    if not (quantile.startswith("p") and 0 < share < 1):
        raise UsageError(f"--latency {text}: write 30ms, p99:30ms or p99.9:30ms")
    return share


def _show(result: Any) -> None:
    from rich.table import Table

    out = console()
    if result.best is not None:
        table = Table(box=None, pad_edge=False)
        for title in ("architecture", "merit", *result.best.costs):
            table.add_column(title, justify="left" if title == "architecture" else "right")
        for point in (result.best, *result.front[-8:]):
            costs = [_cost(name, cost) for name, cost in point.costs.items()]
            mark = "" if point.feasible else " (over)"
            table.add_row(printable(point.architecture) + mark, f"{point.merit:.4g}", *costs)
        out.print(table)
    for one in result.verified:
        said = next(iter(one.point.costs.values()))["value"]
        out.print(f"measured {format_quantity(one.measured['value'], 's')}, predicted "
                  f"{format_quantity(said, 's')}: {'meets' if one.meets else 'misses'} the limit  "
                  f"{printable(one.point.architecture)}")  # fmt: skip
    out.print(f"{result.evaluations} architectures of {result.space} evaluated by "
              f"{result.strategy}, {len(result.front)} on the front")  # fmt: skip


def _cost(name: str, cost: dict[str, Any]) -> str:
    unit = UNITS.get(name.partition("@")[0], "")
    low, high = (format_quantity(cost[end], unit) for end in ("low", "high"))
    figure = format_quantity(cost["value"], unit)
    return figure if cost["low"] == cost["high"] else f"{figure} ({low} to {high})"


def _least(result: Any) -> str:
    if not result.reachable:
        return ("no finalist met the limit when it was measured: give --verify more, or lower the "
                "limit by the error shown")  # fmt: skip
    parts = []
    for reach in result.reachable:
        unit = UNITS[reach.limit.quantity]
        kind = "the least possible is" if reach.exact else "the least found is"
        parts.append(f"{reach.limit.quantity} ≤ {format_quantity(reach.limit.value, unit)}: {kind} "
                     f"{format_quantity(reach.value, unit)}")  # fmt: skip
    return f"no architecture of {result.space} was found within the limits; " + "; ".join(parts)


def _write(name: str, result: Any, output: str) -> None:
    from pathlib import Path

    from lwprof.search import space

    model = space(name).build(result.best.architecture)
    Path(output).write_bytes(model.SerializeToString())
