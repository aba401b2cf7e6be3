"""``lwprof zoo``: list and build the networks we ship."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.output import check_writable, console, printable, write_json
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lwprof.zoo import Figures

_SCHEMA = "lwprof.zoo/1"
_PAPER = 48  # characters of a title, shortened in its middle so that the number stays
_JSON_HELP = "Write the result as JSON to FILE, or to standard output for '-'."


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--survey", is_flag=True, help="Table 1 of the survey, ours beside its figures.")
@click.option("--json", "json_path", metavar="FILE|-", help=_JSON_HELP)
@click.pass_context
def command(context: click.Context, survey: bool, json_path: str | None) -> None:
    """List the networks we ship; `build` writes one as an ONNX file.

    Example: lwprof zoo build resnet50 -o resnet50.onnx
    """
    if context.invoked_subcommand is not None:
        if survey or json_path is not None:
            raise click.UsageError("give --survey and --json without a subcommand", context)
        return
    check_writable(json_path)
    if survey:
        _survey(json_path)
    else:
        _list(json_path)


@command.command()
@click.argument("name")
@click.option("-o", "--output", required=True, metavar="FILE", help="The .onnx file to write.")
@click.option("--width", type=float, help="Multiplier of the channels.")
@click.option("--resolution", type=int, help="Height and width of the input in pixels.")
@click.option("--classes", type=int, help="Outputs of the classifier.")
@click.option("--batch", type=int, help="Samples per inference.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    help="Of inputs and weights.",
)
@click.option(
    "--weights",
    type=click.Choice(["seeded", "none"]),
    default="seeded",
    help="'none': a graph of kilobytes, expanded at load, for profiling only.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the weights.")
@click.option("--json", "json_path", metavar="FILE|-", help=_JSON_HELP)
def build(name: str, output: str, json_path: str | None, **options: Any) -> None:
    """Writes the network NAME to FILE, or to standard output for '-'.

    Weights above 1 GB go to FILE.data beside it.

    Example: lwprof zoo build mobilenet_v2 -o small.onnx --width 0.5 --resolution 160
    """
    from lwprof import zoo

    check_writable(output)
    check_writable(json_path)
    if output == "-":
        if json_path is not None:
            raise click.UsageError("standard output takes the model: leave --json away")
        sys.stdout.buffer.write(zoo.build(name, **options).SerializeToString())
        return
    written = zoo.save(name, output, **options)
    files = [{"path": str(path), "bytes": path.stat().st_size} for path in written]
    if json_path is not None:
        write_json({"schema": _SCHEMA, "name": name, "files": files}, json_path)
    if json_path != "-":
        for path in written:
            size = format_quantity(path.stat().st_size, "B")
            click.echo(f"wrote {printable(str(path), 200)} ({size})")


def _list(json_path: str | None) -> None:
    from lwprof import zoo

    figures = zoo.figures()
    if json_path is not None:
        options = {name: network.options for name, network in zoo.networks().items()}
        data = [{"name": name, **asdict(row), "options": options.get(name, {})}
                for name, row in figures.items()]  # fmt: skip
        write_json({"schema": _SCHEMA, "networks": data}, json_path)
    if json_path != "-":
        _show_list(figures)


def _show_list(rows: Mapping[str, Figures]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True, min_width=max(map(len, rows)))
    for title, width in (("parameters", 10), ("MACs", 6), ("peak memory", 11), ("year", 4)):
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    table.add_column("paper", overflow="ellipsis", no_wrap=True, min_width=10)
    for name, row in rows.items():
        table.add_row(
            name,
            format_quantity(row.params, ""),
            format_quantity(row.macs, ""),
            format_quantity(row.peak_memory_bytes, "B"),
            str(row.year),
            printable(row.paper, _PAPER),
        )
    out = console()
    out.print(table)
    out.print("\nper sample of batch 1, activations without reuse in place; 'lwprof inspect NAME'")


def _survey(json_path: str | None) -> None:
    from lwprof import zoo
    from lwprof.zoo.survey import table_1

    rows = [(row, zoo.figures()[row.name].params) for row in table_1()]
    if json_path is not None:
        data = [
            {
                "label": row.label,
                "name": row.name,
                "params": params,
                "storage_bytes": 4 * params,
                "survey_storage_mb": row.storage,
                "remark": row.remark,
            }
            for row, params in rows
        ]
        write_json({"schema": _SCHEMA, "survey_table_1": data}, json_path)
    if json_path == "-":
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for title in ("parameters", "MB (10⁶)", "MiB (2²⁰)", "survey"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("the survey's figure is in")
    for row, params in rows:
        storage = 4 * params
        table.add_row(row.label, f"{params / 1e6:.2f} M", f"{storage / 1e6:.1f}",
                      f"{storage / 2**20:.1f}", f"{row.storage} MB", row.remark)  # fmt: skip
    console().print(table)
