"""``lwprof predict``: answers from the table and the fitted predictors, touches no device."""

from __future__ import annotations

from typing import Any

import click

from lwprof.cli.choices import context_options, store_option
from lwprof.cli.output import check_writable, console, printable, with_interval, write_json


@click.command(name="predict")
@click.argument("models", nargs=-1, required=True)
@click.option("--device", default="host", show_default=True, help="Whose table answers.")
@context_options
@click.option(
    "--unknown",
    type=click.Choice(["miss", "extrapolate"]),
    default="miss",
    show_default=True,
    help="What to do about kernels unlike all that were measured.",
)
@store_option
@click.option("--json", "json_path", help="Write lwprof.prediction/1 to a file, or - for stdout.")
def command(models: tuple[str, ...], device: str, json_path: str | None,
            store_url: str | None, **choice: Any) -> None:  # fmt: skip
    """Predict models from the device's lookup table, and from its fitted predictors.

    A model costs the sum of its kernels and of the gaps between them. Kernels that were
    measured answer exactly; others are predicted once lwprof fit has run.

    Example: lwprof predict mobilenet_v2 --device host --threads 1
    """
    from lwprof import api
    from lwprof.converting import in_precision

    check_writable(json_path)
    given = [in_precision(model, choice["precision"]) for model in models]
    costs = api.cost_model(device, store=store_url, **choice).predict(given)
    if json_path:
        write_json(costs.to_json(), json_path)
    if json_path == "-":
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("model", "latency", "between kernels", "peak memory (computed)", "kernels"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for model in costs.models:
        memory = model.graph.peak_memory_bytes
        table.add_row(
            printable(model.graph.name),
            with_interval(model.latency_s, "s"),
            with_interval(model.gap_s, "s"),
            "unknown" if memory is None else f"{memory / 2**20:.1f} MiB",
            ", ".join(f"{count} {source}" for source, count in model.sources.items() if count)
            + (", imported" if model.origin == "imported" else ""),
        )
    out = console()
    out.print(table)
    out.print(f"{device}: {costs.context.describe()}")
