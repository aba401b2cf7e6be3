"""``lwprof predict``: answers from the lookup table, touches no device."""

from __future__ import annotations

from typing import Any

import click

from lwprof.cli.choices import store_option
from lwprof.cli.output import check_writable, console, printable, with_interval, write_json


@click.command(name="predict")
@click.argument("models", nargs=-1, required=True)
@click.option("--device", default="host", show_default=True, help="Whose table answers.")
@click.option("--runtime", help="Choose the context by runtime.")
@click.option("--provider", help="Choose the context by execution provider.")
@click.option("--threads", type=int, help="Choose the context by threads.")
@click.option("--precision", help="Choose the context by precision.")
@click.option("--power-mode", help="Choose the context by power mode.")
@store_option
@click.option("--json", "json_path", help="Write lwprof.prediction/1 to a file, or - for stdout.")
def command(models: tuple[str, ...], device: str, json_path: str | None,
            store_url: str | None, **choice: Any) -> None:  # fmt: skip
    """Predict models as the exact sum over the device's lookup table.

    Example: lwprof predict mobilenet_v2 --device host --threads 1
    """
    from lwprof import api

    check_writable(json_path)
    costs = api.cost_model(device, store=store_url, **choice).predict(list(models))
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
            f"{len(model.kernels)} measured",
        )
    out = console()
    out.print(table)
    out.print(f"{device}: {costs.context.describe()}")
