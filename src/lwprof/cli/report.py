"""``lwprof report``: HTML pages from result files or the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lwprof.cli.choices import context_options, store_option
from lwprof.cli.html import open_file
from lwprof.cli.output import check_writable
from lwprof.errors import UsageError

_KINDS = ("model", "device", "compare", "matrix", "audit", "search", "prune")
_SCHEMAS = {"model": "measurement", "compare": "comparison", "audit": "audit",
            "search": "search", "prune": "prune"}  # fmt: skip

_MARGIN = 0.03  # as lwprof compare


@click.command(name="report")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("sources", nargs=-1, required=True, metavar="ARG...")
@click.option("--output", "-o", "output", required=True, help="HTML file to write.")
@click.option("--device", default="host", show_default=True, help="Of a model in the store: where.")
@context_options
@store_option
@click.option("--redact", is_flag=True, help="Leave out hosts, addresses and serials.")
@click.option("--open", "open_", is_flag=True, help="Show it in the browser.")
def command(kind: str, sources: tuple[str, ...], output: str, device: str, store_url: str | None,
            redact: bool, open_: bool, **choice: Any) -> None:  # fmt: skip
    """Write an HTML report: one file that opens offline.

    \b
    model    a result of lwprof measure, or the name of a model in the store
    device   the name of a device in the store, and a result of lwprof fit
    compare  a result of lwprof compare [and the measurements of A and B], or two measurements
    matrix   any number of measurements: devices × models
    audit, search, prune: a result of that command

    Example: lwprof report model result.json -o report.html --open
    """
    from lwprof.reporting import report

    check_writable(output)
    if output == "-":
        raise UsageError("-o - is not possible: give a file")
    data, beside = _gathered(kind, sources, device, store_url, choice)
    path = report(data, output, redact=redact, **beside)
    if open_:
        open_file(path)


def _gathered(kind: str, sources: tuple[str, ...], device: str, store: str | None,
              choice: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    from lwprof.reporting import read_result, together

    most = {"matrix": 10_000, "compare": 3, "device": 2}.get(kind, 1)
    if len(sources) > most:
        raise UsageError(f"lwprof report {kind} takes at most {most} arguments, not {len(sources)}")
    if kind == "matrix":
        return together([read_result(source) for source in sources]), {}
    if kind == "device":
        fit = read_result(sources[1]) if len(sources) > 1 else None
        return _device(sources[0], fit, store, choice), {}
    if kind == "model" and not _is_file(sources[0]):
        return _stored(sources[0], device, store, choice), {}
    if kind == "compare" and len(sources) > 1:
        return _compared(sources)
    data = read_result(sources[0])
    _expect(data, _SCHEMAS[kind], sources[0])
    return data, {}


def _is_file(source: str) -> bool:
    return Path(source).is_file() or source.endswith(".json")


def _expect(data: Mapping[str, Any], schema: str, source: str) -> None:
    found = str(data.get("schema")).partition("/")[0]
    if found not in (f"lwprof.{schema}", f"lwprof.{schema}s"):
        raise UsageError(f"{source} holds {found[:60]!r}, not lwprof.{schema}: check the file")


def _compared(sources: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """A comparison with its sides' measurements, or the comparison of two measurements."""
    from lwprof.reporting import read_result

    sides = [read_result(source) for source in sources[-2:]]
    for side, source in zip(sides, sources[-2:], strict=True):
        _expect(side, "measurement", source)
    if len(sources) == 3:
        data = read_result(sources[0])
        _expect(data, "comparison", sources[0])
    else:
        from lwprof.profiler.session.saved import compare_saved

        paths = [Path(source) for source in sources]
        data = compare_saved(*paths, margin=_MARGIN, gates={}).to_json()
    return data, {"a": sides[0], "b": sides[1]}


def _stored(model: str, device: str, store: str | None, choice: Mapping[str, Any]) -> Any:
    from lwprof.profiler.store import open_store
    from lwprof.reports.from_store import context_of, measurement_of

    with open_store(store, readonly=True) as opened:
        return measurement_of(opened, model, device, context_of(opened, device, choice))


def _device(name: str, fit: Mapping[str, Any] | None, store: str | None,
            choice: Mapping[str, Any]) -> Any:  # fmt: skip
    from lwprof.profiler.store import open_store
    from lwprof.reports.from_store import context_of, device_of

    if fit is not None:
        _expect(fit, "fit", "the second argument")
    with open_store(store, readonly=True) as opened:
        return device_of(opened, name, context_of(opened, name, choice), fit)
