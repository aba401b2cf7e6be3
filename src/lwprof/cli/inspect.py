"""``lwprof inspect``: what a model is before anything is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.choices import InputShape
from lwprof.cli.output import check_writable, console, printable, write_json
from lwprof.profiler.graph.text import count_text, macs_text
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from rich.console import Console

    from lwprof.profiler.graph import Operator
    from lwprof.profiler.graph.inspection import Inspection, ModelInspection

_SHOWN = 15


@click.command(name="inspect")
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--runtime",
    type=click.Choice(["onnxruntime", "tvm"]),
    help="List the kernels that this runtime on this host makes of the model.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    type=InputShape(),
    multiple=True,
    help="Shape of an input, e.g. data=1,3,224,224; repeatable.",
)
@click.option("--batch", type=int, help="Batch size (default: as in the file, else 1).")
@click.option("--all", "show_all", is_flag=True, help="Show every operator and kernel.")
@click.option("--json", "json_path", help="Write lwprof.inspection/1 to a file, or - for stdout.")
def command(
    models: tuple[str, ...],
    runtime: str | None,
    batch: int | None,
    show_all: bool,
    input_shapes: Sequence[tuple[str, tuple[int, ...]]],
    json_path: str | None,
) -> None:
    """Say what a model is: operators, MACs, parameters, bytes, memory, what is unknown.

    MODEL is an .onnx file, a zoo name, or - for standard input. Nothing is measured and no
    device is touched.

    Example: lwprof inspect squeezenet.onnx --input-shape data=1,3,224,224
    """  # fmt: skip
    from lwprof import api

    check_writable(json_path)
    result = api.inspect(
        *models, input_shapes=dict(input_shapes) or None, batch=batch, runtime=runtime
    )
    if json_path:
        write_json(result.to_json(), json_path)
    if json_path == "-":
        return
    out = console()
    if len(result.models) == 1:
        _show_one(result.models[0], out, show_all)
    else:
        _show_several(result, out)


def _show_one(model: ModelInspection, out: Console, show_all: bool) -> None:
    _show_totals(model, out)
    _show_types(model.operators, out)
    heaviest = sorted(model.operators, key=lambda o: (-(o.macs or 0), o.index))
    chosen = list(model.operators) if show_all else heaviest[:_SHOWN]
    _show_operators(model, chosen, out)
    hidden = len(model.operators) - len(chosen)
    if hidden > 0:
        out.print(f"… and {hidden} operators with fewer MACs (--all shows them)")
    if model.kernels is not None:
        _show_kernels(model, out, show_all)
    for note in model.graph.notes:
        out.print(f"note: {printable(note, 160)}")


def _show_totals(model: ModelInspection, out: Console) -> None:
    graph = model.graph
    inputs = "; ".join(
        f"{printable(t.name)} {t.dtype} {_shape_text(t.shape)}" for t in graph.inputs
    )
    in_place = format_quantity(graph.peak_memory_inplace_bytes, "B")
    rows = [
        ("inputs", inputs or "none"),
        ("operators", str(len(model.operators))),
        ("MACs", macs_text(model.macs, model.counted_macs)),
        ("parameters", f"{model.params:,}"),
        ("size", format_quantity(model.size_bytes, "B")),
        ("peak activations",
         f"{format_quantity(model.peak_memory_bytes, 'B')} ({in_place} in place)"),
    ]  # fmt: skip
    if model.unknown:
        rows.append(("unknown", ", ".join(printable(name) for name in model.unknown)))
    out.print(printable(model.name), style="bold")
    for label, text in rows:
        out.print(f"  {label:<17} {text}")
    out.print()


def _table(first: str, *rest: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for title in rest:
        table.add_column(title, justify="right")
    return table


def _show_types(operators: Iterable[Operator], out: Console) -> None:
    by_type: dict[str, list[Operator]] = defaultdict(list)
    for operator in operators:
        by_type[operator.type].append(operator)
    total = sum(operator.macs or 0 for group in by_type.values() for operator in group)
    table = _table("type", "operators", "MACs", "share", "parameters", "read", "written")
    for name, group in sorted(by_type.items(), key=lambda item: -_sum(item[1], "macs")):
        macs = _sum(group, "macs")
        table.add_row(
            printable(name),
            str(len(group)),
            _total(group, "macs", ""),
            f"{macs / total:.1%}" if total and macs else "",
            _total(group, "params", ""),
            _total(group, "bytes_read", "B"),
            _total(group, "bytes_written", "B"),
        )
    out.print(table)
    out.print()


def _sum(group: Iterable[Operator], field: str) -> int:
    return sum(getattr(operator, field) or 0 for operator in group)


def _total(group: Sequence[Operator], field: str, unit: str) -> str:
    """The sum for people; marked where a part of it is unknown."""
    values = [getattr(operator, field) for operator in group]
    if all(value is None for value in values):
        return "unknown"
    total = _sum(group, field)
    text = format_quantity(total, unit) if unit else count_text(total)
    return f"≥ {text}" if None in values else text


def _show_operators(model: ModelInspection, chosen: Sequence[Operator], out: Console) -> None:
    table = _table("operator", "type", "MACs", "parameters", "read", "written", "output")
    for operator in chosen:
        output = model.graph.tensors.get(operator.outputs[0]) if operator.outputs else None
        table.add_row(
            printable(operator.name),
            printable(operator.type),
            count_text(operator.macs),
            count_text(operator.params),
            format_quantity(operator.bytes_read, "B"),
            format_quantity(operator.bytes_written, "B"),
            _shape_text(output.shape if output is not None else None),
        )
    out.print(table)


def _show_kernels(model: ModelInspection, out: Console, show_all: bool) -> None:
    kernels = model.kernels or ()
    distinct = len({kernel.workload.key for kernel in kernels})
    out.print(f"\n{len(kernels)} kernels, {distinct} different workloads", style="bold")
    table = _table("kernel", "operators", "workload")
    for kernel in kernels if show_all else kernels[:_SHOWN]:
        name = kernel.nodes[0] if kernel.nodes else "(inserted by the runtime)"
        table.add_row(
            printable(name),
            printable(" + ".join(kernel.operators)),
            kernel.workload.key[:15],
        )
    out.print(table)
    if len(kernels) > _SHOWN and not show_all:
        out.print(f"… and {len(kernels) - _SHOWN} kernels (--all shows them)")


def _show_several(result: Inspection, out: Console) -> None:
    table = _table(
        "model", "operators", "MACs", "parameters", "size", "peak activations", "unknown"
    )
    for model in result.models:
        table.add_row(
            printable(model.name),
            str(len(model.operators)),
            macs_text(model.macs, model.counted_macs),
            count_text(model.params),
            format_quantity(model.size_bytes, "B"),
            format_quantity(model.peak_memory_bytes, "B"),
            printable(", ".join(model.unknown), 40),
        )
    out.print(table)
    out.print()
    _show_types((operator for model in result.models for operator in model.operators), out)


def _shape_text(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "unknown"
    return "×".join("?" if extent is None else str(extent) for extent in shape) or "scalar"
