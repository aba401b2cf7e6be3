"""``lwprof devices add|accept|remove|clean``: the registry, host keys, and what lies on boards."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import TYPE_CHECKING

import click

from lwprof.cli.output import printable

if TYPE_CHECKING:
    from lwprof.agents.targets.ssh import SshTarget
    from lwprof.agents.targets.ssh_host_keys import UnknownHostKey
    from lwprof.device_profiles import Device


@click.command()
@click.argument("name")
@click.option("--board", help="Type of machine, e.g. pi4; without it the device is asked.")
@click.option("--ssh", metavar="[USER@]HOST[:PORT]", help="Reach it by ssh.")
@click.option("--adb", metavar="SERIAL", help="Reach it by adb.")
@click.option("--jump", metavar="USER@HOST[:PORT]", help="Go through this host; several: commas.")
@click.option("--identity", metavar="FILE", help="Private key to use.")
@click.option("--python", metavar="PATH", help="The device's interpreter, e.g. python3.11.")
@click.option("--workdir", metavar="DIR", help="The one folder to use there [~/.cache/lwprof].")
@click.option("--accept", metavar="SHA256:…", help="Accept the host key with this fingerprint.")
def add(
    name: str,
    board: str | None,
    ssh: str | None,
    adb: str | None,
    jump: str | None,
    identity: str | None,
    python: str | None,
    workdir: str | None,
    accept: str | None,
) -> None:
    """Adds a device. With --board it is not contacted yet; without, it is asked what it is.

    Example: lwprof devices add lab-pi --ssh pi@lab-pi.local
    """
    from lwprof.device_profiles import adb_device, add_device, ssh_device

    if (ssh is None) == (adb is None):
        raise click.UsageError("say how to reach it: either --ssh user@host or --adb SERIAL")
    if ssh is None and (jump or identity or accept):
        raise click.UsageError("--jump, --identity and --accept go with --ssh")
    if ssh is None:
        device = adb_device(name, board or "android", adb or "", python=python, workdir=workdir)
        if board is None:
            device = dataclasses.replace(device, board=_phone(device))
    else:
        options = {"jump": jump, "identity": identity, "python": python, "workdir": workdir}
        device = ssh_device(name, board or "generic_linux", ssh, **options)
        if accept is not None:
            _accept(device, accept, replace=False)
        if board is None:
            device = _asked(device, options, ssh)
    path = add_device(device)
    click.echo(f"added {device.name} ({device.board}, {device.address}) to {path}")


def _asked(device: Device, options: dict[str, str | None], address: str) -> Device:
    """The device with the board that it says it is; a new board's profile is written."""
    from lwprof.agents import Agent
    from lwprof.agents.targets.ssh_host_keys import UnknownHostKey
    from lwprof.device_profiles import ssh_device
    from lwprof.device_profiles.recognising import recognise, write_profile
    from lwprof.errors import HostError

    try:
        with _target(device) as target, Agent(target) as agent:
            compatible = target.survey().compatible
            facts = agent.facts()
    except UnknownHostKey as unknown:
        shown = _fingerprint(unknown)
        if not _confirmed(unknown):
            raise HostError(
                f"{device.name}: the host key of {unknown.name} is unknown ({shown}): compare it "
                f"with what the device shows, then add it again with --accept {shown}"
            ) from None
        _write_key(unknown, replace=False)
        return _asked(device, options, address)
    board = recognise(compatible)
    if board is None:
        board = re.sub(r"[^a-z0-9_]", "_", device.name.lower()).lstrip("_") or "board"
        title = facts.model or facts.cpu or "A Linux computer"
        path = write_profile(board, title, facts.environment, facts.clusters, facts.memory_bytes)
        click.echo(f"wrote what {device.name} says about itself to {path}")
    return ssh_device(device.name, board, address, **options)


def _phone(device: Device) -> str:
    """The board that a phone says it is; ``android`` for one that no profile knows."""
    from lwprof.agents import open_target
    from lwprof.agents.targets.adb import AdbTarget
    from lwprof.device_profiles.boards import identify

    with open_target(device) as target:
        assert isinstance(target, AdbTarget)
        told = target.run(["getprop", "ro.product.device"])
    return identify(codename=told.stdout.decode("utf-8", "replace").strip()) or "android"


@click.command()
@click.argument("name")
@click.argument("fingerprint", required=False)
@click.option("--replace", is_flag=True, help="Forget another key that was accepted before.")
def accept(name: str, fingerprint: str | None, replace: bool) -> None:
    """Accepts the host key of a device, and of the jump hosts before it.

    Compare the FINGERPRINT with what the device itself shows. Without one, it is shown and
    asked for. Example: lwprof devices accept lab-pi SHA256:2Lq8…
    """
    from lwprof.device_profiles import find_device

    _accept(find_device(name), fingerprint, replace=replace)


def _accept(device: Device, fingerprint: str | None, *, replace: bool) -> None:
    from lwprof.agents.targets.ssh_host_keys import ChangedHostKey, UnknownHostKey
    from lwprof.errors import HostError, UsageError

    if device.how != "ssh":
        raise UsageError(f"{device.name!r} is not reached by ssh, so it has no host key")
    while True:
        target = _target(device)
        try:
            target.link.way()
        except UnknownHostKey as unknown:
            if isinstance(unknown, ChangedHostKey) and not replace:
                raise
            shown = _fingerprint(unknown)
            if fingerprint is not None and fingerprint != shown:
                raise HostError(f"{device.name}: {unknown.name} shows {shown}, not "
                                f"{printable(fingerprint, 80)}: nothing was accepted") from None  # fmt: skip
            if fingerprint is None and not _confirmed(unknown):
                raise HostError(f"{device.name}: nothing was accepted: {unknown.name} shows "
                                f"{shown}; name it to accept it") from None  # fmt: skip
            _write_key(unknown, replace=replace)
            click.echo(f"accepted {shown} for {unknown.name}")
            fingerprint = None  # the next host on the way has a key of its own
            continue
        finally:
            target.close()
        return


def _confirmed(unknown: UnknownHostKey) -> bool:
    """Whether a person at the terminal says that the key is right."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    kind = unknown.key.get_name()
    return click.confirm(
        f"{unknown.name} shows the {kind} key {_fingerprint(unknown)}. Is that its key?", err=True
    )


def _fingerprint(unknown: UnknownHostKey) -> str:
    from lwprof.agents.targets.ssh_host_keys import fingerprint

    return fingerprint(unknown.key)


def _write_key(unknown: UnknownHostKey, *, replace: bool) -> None:
    from lwprof.agents.targets.ssh_host_keys import ChangedHostKey, accept
    from lwprof.device_profiles import known_hosts_path

    if isinstance(unknown, ChangedHostKey) and not replace:
        raise unknown
    accept(known_hosts_path(), unknown.name, unknown.key, replace=replace)


@click.command()
@click.argument("name")
def remove(name: str) -> None:
    """Takes a device out of the registry; its measurements stay in the store.

    Example: lwprof devices remove lab-pi
    """
    from lwprof.device_profiles import remove_device

    path = remove_device(name)
    click.echo(f"removed {name} from {path}; what lies on it goes with 'lwprof devices clean'")


@click.command()
@click.argument("name")
def clean(name: str) -> None:
    """Removes everything that lwprof has put on a device.

    Example: lwprof devices clean lab-pi
    """
    from lwprof.agents import open_target
    from lwprof.device_profiles import find_device, known_hosts_path
    from lwprof.errors import UsageError

    device = find_device(name)
    with open_target(device, known_hosts_path()) as target:
        cleaner = getattr(target, "clean", None)
        if cleaner is None:
            raise UsageError(f"{name!r} is this machine: lwprof's files are in its cache folder")
        found = cleaner()
    click.echo(f"removed {found or 'the work folder'} from {device.name}")


def _target(device: Device) -> SshTarget:
    from lwprof.agents.targets import settings_of
    from lwprof.agents.targets.ssh import SshTarget
    from lwprof.device_profiles import known_hosts_path

    return SshTarget(device.name, settings_of(device, known_hosts_path()))
