"""``lwprof store``: what it holds, and the ways in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.output import check_writable, console, printable, write_json
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from lwprof.profiler.store import Context, ImportReport, Store
    from lwprof.profiler.store.summary import Summary

_SCHEMA = "lwprof.store/1"


def _store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Path or URL; default: LWPROF_STORE, else measurements.db in the user's data folder."
    return click.option("--store", "url", metavar="URL", help=text)(command)


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Write the result as JSON to FILE, or to standard output for '-'."
    return click.option("--json", "json_path", metavar="FILE|-", help=text)(command)


@click.group("store", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Info, import, export, migrate and merge of measurements.

    Example: lwprof store export lut.csv --device host
    """


@command.command()
@_store_option
@_json_option
def info(url: str | None, json_path: str | None) -> int:
    """Says what the store holds, and whether it is sound.

    Exits 1 when it is damaged. Example: lwprof store info
    """
    from lwprof.profiler.store import check, open_store
    from lwprof.profiler.store.summary import summarise

    check_writable(json_path)
    with open_store(url, readonly=True) as store:
        problems = check(store)
        if problems:
            # Counting on would only fail on the damaged pages.
            data: dict[str, Any] = {"schema": _SCHEMA, "url": store.url, "problems": problems}
            if json_path is not None:
                write_json(data, json_path)
            for line in problems:
                click.echo(f"lwprof: {store.url}: {printable(line, 200)}", err=True)
            click.echo("lwprof: the store is damaged; restore a copy of it", err=True)
            return 1
        summary = summarise(store)
    if json_path is not None:
        write_json(_info_json(summary), json_path)
    if json_path != "-":
        _print_info(summary)
    return 0


def _info_json(summary: Summary) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "url": summary.url,
        "schema_version": summary.schema_version,
        "size_bytes": summary.size_bytes,
        "records": dict(summary.records),
        "unfinished_runs": summary.unfinished,
        "devices": [
            {"hardware_id": d.hardware_id, "name": d.name, "board": d.board,
             "environment": d.environment}
            for d in summary.devices
        ],
        "contexts": [
            {"key": c.context.key, "context": c.context.to_json(), "blocks": c.blocks,
             "facts": c.facts, "workloads": c.workloads}
            for c in summary.contexts
        ],
        "problems": [],
    }  # fmt: skip


def _print_info(summary: Summary) -> None:
    from rich.table import Table

    out = console()
    size = "" if summary.size_bytes is None else f", {format_quantity(summary.size_bytes, 'B')}"
    out.print(f"{printable(summary.url, 100)} (schema {summary.schema_version}{size}): sound")
    records = ", ".join(f"{count} {name}" for name, count in summary.records.items() if count)
    out.print(records or "empty: 'lwprof measure MODEL' fills it")
    if summary.unfinished:
        out.print(f"{summary.unfinished} unfinished runs: the same command resumes a recent one")
    if not summary.contexts:
        return
    names = {device.hardware_id: device.name for device in summary.devices}
    table = Table("device", "context", "workloads", "blocks", "numbers")
    for item in summary.contexts:
        name = names.get(item.context.hardware_id) or item.context.hardware_id
        table.add_row(printable(name), printable(item.context.describe(), 100),
                      str(item.workloads), str(item.blocks), str(item.facts))  # fmt: skip
    out.print(table)


@command.command("export")
@click.argument("file")
@click.option("--device", metavar="NAME", help="Only this device: its name or hardware id.")
@click.option("--runtime", metavar="NAME", help="Only this runtime, e.g. onnxruntime.")
@_store_option
def export_(file: str, device: str | None, runtime: str | None, url: str | None) -> None:
    """Writes the lookup tables to FILE, a .csv or .parquet.

    Example: lwprof store export lut.csv --device host
    """
    from lwprof.profiler.store import export_table, open_store

    check_writable(file)
    with open_store(url, readonly=True) as store:
        chosen = _chosen(store, device, runtime)
        count = export_table(store, file, contexts=chosen)
    click.echo(f"{count} rows of {len(chosen)} contexts written to {file}")
    if not count:
        click.echo(
            "lwprof: the store knows no workload there; 'lwprof measure' adds some", err=True
        )


def _chosen(store: Store, device: str | None, runtime: str | None) -> list[Context]:
    from lwprof.errors import DeviceUnknown

    names = {item.hardware_id: item.name for item in store.devices()}
    if device is not None and device not in {*names, *names.values()}:
        known = ", ".join(sorted(printable(name) for name in names.values() if name)) or "none"
        raise DeviceUnknown(f"the store holds nothing of a device {device!r}; it has: {known}")
    return [
        context
        for context in store.contexts()
        if device in (None, context.hardware_id, names.get(context.hardware_id))
        and runtime in (None, context.runtime)
    ]


@command.command("import")
@click.argument("file")
@click.option("--mapping", metavar="FILE", help="TOML file that says what its columns mean.")
@_store_option
@_json_option
def import_(file: str, mapping: str | None, url: str | None, json_path: str | None) -> None:
    """Takes the numbers of a table (.csv, .csv.gz, .parquet) with origin "imported".

    Tables that 'lwprof store export' wrote need no mapping. All of a file is taken or nothing,
    and taking it twice changes nothing.

    Example: lwprof store import lut.csv --mapping lut.toml
    """
    from lwprof.profiler.store import import_table, open_store

    check_writable(json_path)
    with open_store(url) as store:
        report = import_table(store, file, mapping)
    if json_path is not None:
        write_json(_import_json(report), json_path)
    if json_path != "-":
        _print_import(report)


def _import_json(report: ImportReport) -> dict[str, Any]:
    return {"schema": "lwprof.import/1", "run": report.run_id, "rows": report.rows,
            "numbers": report.facts, "foreign": report.foreign, "reasons": list(report.reasons),
            "skipped": report.skipped, "joined": report.joined,
            "repeated": report.repeated}  # fmt: skip


def _print_import(report: ImportReport) -> None:
    if report.repeated:
        click.echo("this very table was imported before: nothing changed")
        return
    click.echo(f"{report.rows} rows imported, {report.facts} numbers stored")
    if report.skipped:
        click.echo(f"{report.skipped} rows left out by the mapping's 'where'")
    if report.joined:
        click.echo(f"{report.joined} rows joined with others of the same workload by their median")
    if report.foreign:
        click.echo(f"{report.foreign} rows kept under a foreign key, which no cost model can use:")
        for reason in report.reasons:
            click.echo(f"  {printable(reason, 160)}")


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_store_option
@_json_option
def merge(files: tuple[str, ...], url: str | None, json_path: str | None) -> int:
    """Copies what other stores hold into this one; the others stay as they are.

    Merging again changes nothing. Exits 1 when a record differs under the same key; ours is
    kept. Example: lwprof store merge laptop.db lab.db
    """
    from lwprof.profiler.store import merge as merge_stores
    from lwprof.profiler.store import open_store

    check_writable(json_path)
    added: dict[str, int] = {}
    conflicts: list[str] = []
    with open_store(url) as store:
        for file in files:
            with open_store(file, readonly=True) as other:
                report = merge_stores(store, other)
            for name, count in report.added.items():
                added[name] = added.get(name, 0) + count
            conflicts += [f"{file}: {line}" for line in report.conflicts]
    if json_path is not None:
        write_json({"schema": "lwprof.merge/1", "added": added, "conflicts": conflicts}, json_path)
    if json_path != "-":
        text = ", ".join(f"{count} {name}" for name, count in added.items())
        click.echo(f"added {text}" if text else "nothing new")
    for line in conflicts:
        click.echo(f"lwprof: conflict: {printable(line, 200)}", err=True)
    return 1 if conflicts else 0


@command.command()
@_store_option
def migrate(url: str | None) -> None:
    """Brings a store of an older lwprof up to date, whole or not at all.

    Example: lwprof store migrate --store old.db
    """
    from lwprof.profiler.store import migrate as migrate_store

    before, after = migrate_store(url)
    if before == after:
        click.echo(f"the store has the present schema {after} already")
    else:
        click.echo(f"migrated from schema {before} to {after}")
