"""``lwprof audit``: which lightweight technique pays on this device?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.choices import DURATION, FRACTION, InputShape, store_option
from lwprof.cli.html import html_option, write_html
from lwprof.cli.output import (
    check_writable,
    console,
    printable,
    progress_line,
    with_interval,
    write_json,
)
from lwprof.errors import UsageError
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from lwprof.compression.audit.result import AuditResult, Line

_CALIBRATION_BYTES = 1 << 30


@click.command(name="audit")
@click.argument("model")
@click.option("--device", default="host", show_default=True, help="Device to measure on.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="onnxruntime or tvm.")
@click.option("--provider", default="CPU", show_default=True, help="Execution provider.")
@click.option("--threads", type=int, help="Threads (default: cores of the fastest cluster).")
@click.option("--batch", type=int, help="Batch size (default: as in the file).")
@click.option(
    "--input-shape",
    "input_shapes",
    type=InputShape(),
    multiple=True,
    help="Shape of an input that the file leaves open; repeatable.",
)
@click.option("--transform", "transforms", multiple=True, help="Try only this one; repeatable.")
@click.option("--predict-only", is_flag=True, help="Touch no device; the cost model answers.")
@click.option(
    "--latency",
    "latency_s",
    type=DURATION,
    help="Propose the cheapest chain of transforms that meets this limit.",
)
@click.option(
    "--substitutes", is_flag=True, help="Let that chain use structures that must be trained first."
)
@click.option(
    "--error",
    type=FRACTION,
    help="Bound on a factorised layer's error (default: half of its work instead).",
)
@click.option(
    "--max-error",
    type=FRACTION,
    default=0.1,
    help="Output error beyond which nothing is recommended (default: 10%).",
)
@click.option(
    "--calibration",
    "calibration_path",
    help="An .npz file: one array per input, batches along a first axis.",
)
@click.option("--budget", "budget_s", type=DURATION, default=180.0, help="Device time to spend.")
@store_option
@click.option(
    "--resume/--fresh",
    default=True,
    show_default=True,
    help="Go on with an interrupted audit of the same model, or start anew.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--json", "json_path", help="Write lwprof.audit/1 to a file, or - for stdout.")
@html_option
@click.option("-o", "--output", "model_path", help="Write the chain's model to this .onnx file.")
def command(model: str, **options: Any) -> None:
    """Apply every lightweight-design transform that fits a model, and say which pays.

    Transforms are priced by the device's cost model, then measured against the original in
    randomised rounds; verdicts are corrected for their number.

    Example: lwprof audit mobilenet_v2 --device host --threads 1
    """  # fmt: skip
    from lwprof.auditing import audit

    json_path, model_path = options.pop("json_path"), options.pop("model_path")
    html_path = options.pop("html_path")
    check_writable(json_path)
    check_writable(html_path)
    check_writable(model_path)
    if model_path and options["latency_s"] is None:
        raise UsageError("-o writes the model of a chain: give --latency as well")
    calibration = _calibration(options.pop("calibration_path"))
    options["input_shapes"] = dict(options["input_shapes"])
    options["store"] = options.pop("store_url")
    options["fresh"] = not options.pop("resume")
    options["transforms"] = options["transforms"] or None
    with progress_line() as progress:
        result = audit(model, calibration=calibration, progress=progress, **options)
    if json_path:
        write_json(result.to_json(), json_path)
    write_html(result.to_json(), html_path)
    if model_path and result.chain is not None and result.chain.steps:
        Path(model_path).write_bytes(result.chain.model.SerializeToString())
    if json_path != "-":
        show(result)


def show(result: AuditResult) -> None:
    """Prints a table of what was applied, then what was refused, then the proposal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    titles = ("transform", "row", "MACs", "size", "peak", "predicted", "ratio", "verdict", "error")
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place in (0, 1, 7) else "right")
    applied = [line for line in result.lines if line.candidate.applied]
    for line in sorted(applied, key=_order):
        table.add_row(*_cells(line, result))
    out = console()
    base = with_interval(result.baseline_latency_s or result.baseline_predicted, "s")
    out.print(f"{printable(result.graph.name)} on {result.device}: {base}", style="bold")
    out.print(table)
    out.print("error: of the outputs, on "
              f"{result.data} data; * needs training; ~ simulated: no kernels exist")  # fmt: skip
    for line in result.lines:
        if not line.candidate.applied:
            out.print(
                f"  not applied: {line.candidate.id}: {printable(str(line.candidate.reason), 90)}"
            )
    if result.rounds:
        pays = ", ".join(_faster(result, None)) or "nothing proven"
        out.print(f"pays here: {pays} ({result.rounds} rounds)")
        for reservation, words in _RESERVED:
            if found := _faster(result, reservation):
                out.print(f"faster, but {words}: {', '.join(found)}")
    if result.flags:
        out.print(f"  flags: {', '.join(result.flags)}")
    if result.pricing:
        out.print(f"  no predictions: {printable(result.pricing, 110)}")
    _show_chain(result)


_RESERVED = (
    ("error", "outputs move too far (--max-error)"),
    ("training", "another function until it is trained"),
)


def _faster(result: AuditResult, reservation: str | None) -> list[str]:
    """Ids of what is proven faster under one reservation, or under none."""
    return [line.candidate.id for line in result.lines
            if line.proven_faster and line.reservation == reservation]  # fmt: skip


def _show_chain(result: AuditResult) -> None:
    chain = result.chain
    if chain is None:
        return
    steps = " → ".join(chain.steps) or "the original"
    latency = chain.latency_s or chain.predicted
    word = {True: "meets", False: "does not meet", None: "may or may not meet"}[chain.meets]
    error = "" if not chain.steps else f", output error {chain.output_error or 0:.1%}"
    console().print(f"{steps}: {with_interval(latency, 's')}, {word} "
                    f"{format_quantity(chain.limit_s, 's')}{error}", style="bold")  # fmt: skip


def _order(line: Line) -> float:
    if line.outcome is not None:
        return line.outcome.ratio.value
    return line.predicted.value if line.predicted is not None else 1e9


def _cells(line: Line, result: AuditResult) -> tuple[str, ...]:
    data = line.to_json()
    base = result.graph
    mark = "*" if data["equivalence"] == "substituted" else "~" if data["simulated"] else ""
    outcome = line.outcome
    ratio = (
        ""
        if outcome is None
        else (
            f"{outcome.ratio.value:.3f} ({outcome.corrected.low:.2f}–{outcome.corrected.high:.2f})"
        )
    )
    predicted = "" if line.predicted is None else format_quantity(line.predicted.value, "s")
    error = "equal" if data["equivalent"] else f"{data['output_error'] or 0:.1%}"
    return (
        line.candidate.id + mark, data["row"], _share(data["macs"], base.macs),
        _share(data["size_bytes"], base.size_bytes),
        _share(data["peak_memory_bytes"], base.peak_memory_bytes), predicted, ratio,
        line.verdict or "", error,
    )  # fmt: skip


def _share(value: int | None, base: int | None) -> str:
    return "?" if value is None or not base else f"{value / base:.2f} ×"


def _calibration(path: str | None) -> tuple[dict[str, Any], ...]:
    """Batches from an ``.npz`` file: the first axis of every array counts batches."""
    if path is None:
        return ()
    import numpy as np

    try:
        if Path(path).stat().st_size > _CALIBRATION_BYTES:
            raise UsageError(f"{path} is larger than 1 GiB: give fewer batches")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read calibration data from {path}: {error}") from error
    counts = {len(array) for array in arrays.values() if array.ndim}
    if len(counts) != 1 or any(not array.ndim for array in arrays.values()):
        raise UsageError(f"{path}: give every input an array with as many batches as the others")
    return tuple({name: array[i] for name, array in arrays.items()} for i in range(counts.pop()))
