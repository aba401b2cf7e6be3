"""``lwprof fit``: predictors of a context from its table."""

from __future__ import annotations

from typing import Any

import click

from lwprof.cli.choices import context_options, store_option
from lwprof.cli.output import check_writable, console, printable, write_json


@click.command(name="fit")
@click.option("--device", default="host", show_default=True, help="Whose table to fit.")
@context_options
@store_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of trees and folds.")
@click.option("--json", "json_path", help="Write lwprof.fit/1 to a file, or - for stdout.")
def command(device: str, store_url: str | None, seed: int, json_path: str | None,
            **choice: Any) -> None:  # fmt: skip
    """Fit the predictors of a device from what was measured on it.

    Prints how far off kernels are that were left out of the fit, and what to measure next.
    Afterwards lwprof predict answers for kernels that were never measured.

    Example: lwprof fit --device host --threads 1
    """
    from lwprof import api

    check_writable(json_path)
    fit = api.fit(device, store=store_url, random_state=seed, **choice)
    if json_path:
        write_json(fit.to_json(), json_path)
    if json_path == "-":
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    titles = ("family", "kernels", "median error", "within 10 %", "90 % intervals hold", "of time")
    for title in titles:
        table.add_column(title, justify="left" if title == "family" else "right")
    for row in fit.families:
        table.add_row(printable(row.name), str(row.kernels), f"{row.error:.1%}",
                      f"{row.within:.0%}", f"{row.coverage:.0%}", f"{row.share:.1%}")  # fmt: skip
    out = console()
    out.print(table)
    for reason, count in fit.skipped.items():
        out.print(f"left out: {count} kernels, {reason}")
    for line in fit.advice:
        out.print(f"measure more of: {line}")
    out.print(f"{device}: {fit.context.describe()}; {fit.kernels} kernels")
    out.print(f"saved: {fit.path}")
