"""``lwprof devices``: list, show, add and check devices."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwprof.cli.device_changes import accept, add, clean, remove
from lwprof.cli.output import check_writable, console, printable, write_json
from lwprof.units import format_quantity

if TYPE_CHECKING:
    from lwprof.device_profiles import Device, Profile
    from lwprof.device_profiles.check import Check
    from lwprof.device_profiles.doctor import HostFacts

_SCHEMA = "lwprof.devices/1"
_LOAD_WINDOW_S = 1.0  # /proc/stat counts in hundredths of a second
_JSON_HELP = "Write the result as JSON to FILE, or to standard output for '-'."


@click.group(
    "devices",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--json", "json_path", metavar="FILE|-", help=_JSON_HELP)
@click.pass_context
def command(context: click.Context, json_path: str | None) -> None:
    """Lists the devices; 'host' is always this machine.

    Example: lwprof devices add lab-pi --ssh pi@lab-pi.local
    """
    if context.invoked_subcommand is not None:
        if json_path is not None:
            name = context.invoked_subcommand
            raise click.UsageError(f"put --json behind '{name}'")
        return
    from lwprof.device_profiles import devices

    check_writable(json_path)
    known = devices()
    if json_path is not None:
        write_json({"schema": _SCHEMA, "devices": [_device_json(d) for d in known]}, json_path)
    if json_path == "-":
        return
    from rich.table import Table

    table = Table("name", "board", "reached by", "address")
    for device in known:
        table.add_row(device.name, device.board, device.how, printable(device.address))
    console().print(table)


def _device_json(device: Device) -> dict[str, Any]:
    return {"name": device.name, "board": device.board, "how": device.how,
            "address": device.address}  # fmt: skip


@command.command()
@click.argument("name")
@click.option("--json", "json_path", metavar="FILE|-", help=_JSON_HELP)
def show(name: str, json_path: str | None) -> None:
    """Shows a device and the profile of its board.

    Example: lwprof devices show host
    """
    from lwprof.device_profiles import find_device, load_profile
    from lwprof.device_profiles.host import host_profile

    check_writable(json_path)
    device = find_device(name)
    profile = host_profile() if device.how == "local" else load_profile(device.board)
    if json_path is not None:
        data = {"schema": "lwprof.device/1", **_device_json(device), "profile": profile.to_json()}
        write_json(data, json_path)
    if json_path != "-":
        _print_profile(device, profile)


def _print_profile(device: Device, profile: Profile) -> None:
    from rich.table import Table

    table = Table(show_header=False)
    rows = [
        ("name", device.name),
        ("board", f"{device.board} ({profile.title})"),
        ("address", device.address),
        ("environment", profile.environment),
    ]
    for cluster in profile.clusters:
        clock = cluster.max_freq_hz
        speed = "" if clock is None else f" up to {clock / 1e9:.3g} GHz"
        rows.append((f"cores, {cluster.name}", f"{cluster.count}{speed}"))
    if profile.memory_bytes is not None:
        rows.append(("memory", format_quantity(profile.memory_bytes, "B")))
    for rail in profile.rails:
        rows.append((f"rail {rail.label}", f"{rail.sensor}: {', '.join(rail.includes)}"))
    for peak in profile.peaks:
        rows.append((f"peak {peak.quantity}", f"{peak.value:.3g} ({peak.unit_of}, {peak.source})"))
    if profile.limits.temp_c is not None:
        rows.append(("slows down at", f"{profile.limits.temp_c:g} °C"))
    for key, value in rows:
        table.add_row(printable(key), printable(value, 100))
    console().print(table)


@command.command()
@click.argument("name")
@click.option("--install", is_flag=True, help="Install ONNX Runtime on the device, privately.")
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Take wheels from here: the device needs no internet.",
)
@click.option("--json", "json_path", metavar="FILE|-", help=_JSON_HELP)
def doctor(name: str, install: bool, wheels: Path | None, json_path: str | None) -> int:
    """Checks everything a measurement needs and says how to mend it.

    Exits 1 when something blocks measuring. Example: lwprof devices doctor host
    """
    from lwprof.device_profiles import find_device
    from lwprof.device_profiles.doctor import blocks_measuring, examine, report
    from lwprof.device_profiles.host import Sysroot
    from lwprof.errors import UsageError

    check_writable(json_path)
    device = find_device(name)
    if (install or wheels) and device.how != "ssh":
        raise UsageError("--install works on devices that are reached by ssh; here, use pip")
    if device.how == "ssh":
        from lwprof.cli.device_doctor import examine_ssh

        checks = examine_ssh(device, install or wheels is not None, wheels,
                             lambda text: click.echo(text, err=True))  # fmt: skip
    elif device.how == "local":
        checks = examine(Sysroot(), _host_facts(), lambda: time.sleep(_LOAD_WINDOW_S))
    else:
        raise UsageError(f"doctor cannot look at {device.name!r}, which is reached by "
                         f"{device.how}: 'adb devices -l' tells whether it is ready, and "
                         "'lwprof measure' what it lacks")  # fmt: skip
    checks.append(_store_check())
    if json_path is not None:
        write_json(
            {"schema": "lwprof.doctor/1", "device": device.name, **report(checks)}, json_path
        )
    if json_path != "-":
        _print_checks(checks)
    return 1 if blocks_measuring(checks) else 0


def _host_facts() -> HostFacts:
    from importlib.metadata import PackageNotFoundError, version

    from lwprof.device_profiles.doctor import HostFacts

    versions: dict[str, str | None] = {}
    for distribution in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino",
                         "onnxruntime-directml", "apache-tvm"):  # fmt: skip
        try:
            versions[distribution] = version(distribution)
        except PackageNotFoundError:
            versions[distribution] = None
    place = _store_folder()
    return HostFacts(
        versions=versions,
        clock_resolution_s=time.get_clock_info("perf_counter").resolution,
        disk_free_bytes=None if place is None else shutil.disk_usage(place).free,
        disk_path="the store" if place is None else str(place),
    )


def _store_folder() -> Path | None:
    """The folder of the store, or the nearest one above it that exists; None for a server."""
    from lwprof.profiler.store.location import locate

    url = locate(None)
    if url.drivername != "sqlite" or not url.database:
        return None
    place = Path(url.database).absolute().parent
    while not place.is_dir():
        place = place.parent
    return place


def _store_check() -> Check:
    from lwprof.device_profiles.check import Check
    from lwprof.errors import LwprofError
    from lwprof.profiler.store import check, open_store
    from lwprof.profiler.store.location import locate, shown

    where = shown(locate(None))
    if not locate(None).drivername.startswith("postgresql") and not Path(where).exists():
        return Check("store", "ok", f"none yet; it will be {where}")
    try:
        with open_store(readonly=True) as store:
            problems = check(store)
    except LwprofError as error:
        return Check("store", "fail", str(error), "mend it, or name another with LWPROF_STORE")
    if problems:
        return Check("store", "fail", f"{where} is damaged: {problems[0]}",
                     "restore a copy, or name another with LWPROF_STORE")  # fmt: skip
    return Check("store", "ok", where)


def _print_checks(checks: list[Check]) -> None:
    from rich.table import Table

    table = Table("check", "", "found", "how to mend it")
    for check in checks:
        table.add_row(check.name, check.status, printable(check.found, 100),
                      printable(check.advice, 120))  # fmt: skip
    console().print(table)


for _change in (add, accept, remove, clean):
    command.add_command(_change)
