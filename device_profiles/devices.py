"""The user's devices: a registry in ``devices.toml``, and finding one by name or board."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lwprof.device_profiles.boards import boards, load_profile
from lwprof.device_profiles.config import config_folder, locked, read_toml, write_atomically
from lwprof.device_profiles.profile import How
from lwprof.errors import DeviceUnknown, UsageError

HOST = "host"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Nothing that ssh or adb could take for an option, and nothing that TOML would need to escape.
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOSTNAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
)
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_WORD = re.compile(r"[A-Za-z0-9~/_@\[\]][^\"\\\x00-\x1f\x7f]{0,511}")
_SSH = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?:\[(?P<six>[^]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Device:
    """One unit of a board, with its address.

    Attributes:
        name: what the user calls it.
        board: its profile's name.
        how: ``local``, ``ssh`` or ``adb``.
        user: for ssh.
        host: for ssh: a name, an address, or a ``Host`` of ssh's configuration.
        port: for ssh; 22 leaves it to ssh's configuration.
        serial: for adb.
        jump: for ssh: jump hosts, ``user@host:port``, separated by commas.
        identity: for ssh: a private key's file.
        python: the device's interpreter, where it is not the one that is found there.
        workdir: the one folder on the device that is used.
    """

    name: str
    board: str
    how: How
    user: str | None = None
    host: str | None = None
    port: int = 22
    serial: str | None = None
    jump: str | None = None
    identity: str | None = None
    python: str | None = None
    workdir: str | None = None

    @property
    def address(self) -> str:
        """The address for people and for the registry: ``user@host:port`` or a serial."""
        if self.how == "local":
            return "this machine"
        if self.how == "adb":
            return self.serial or ""
        shown = f"[{self.host}]" if self.host and ":" in self.host else self.host
        who = f"{self.user}@" if self.user else ""
        return f"{who}{shown}" + ("" if self.port == 22 else f":{self.port}")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    board: str
    ssh: str | None = None
    adb: str | None = None
    jump: str | None = None
    identity: str | None = None
    python: str | None = None
    workdir: str | None = None


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    devices: dict[str, _Entry] = {}


def registry_path() -> Path:
    """The file that lists the user's devices."""
    return config_folder() / "devices.toml"


def known_hosts_path() -> Path:
    """Host keys that the user accepted for lwprof; ssh's own files count beside it."""
    return config_folder() / "known_hosts"


def ssh_device(
    name: str,
    board: str,
    address: str,
    *,
    jump: str | None = None,
    identity: str | None = None,
    python: str | None = None,
    workdir: str | None = None,
) -> Device:
    """A device reached by ssh.

    Args:
        name: what to call it.
        board: its profile.
        address: ``user@host``, ``user@host:port`` or ``user@[ipv6]:port``; without a user,
            ssh's configuration says who.
        jump, identity, python, workdir: see ``Device``.

    Raises:
        UsageError: not such an address.
    """
    match = _SSH.fullmatch(address)
    host = match and (match["six"] or match["host"])
    port = int(match["port"] or 22) if match else 0
    user = match and match["user"]
    proper = user is None or _USER.fullmatch(user)
    if match is None or not host or not proper or not 0 < port < 65536:
        raise UsageError(f"cannot read {address[:80]!r} as user@host or user@host:port")
    if not _HOSTNAME.fullmatch(host):
        raise UsageError(f"{host[:80]!r} is no host name or address")
    _check_words(jump=jump, identity=identity, python=python, workdir=workdir)
    return Device(name, board, "ssh", user=user, host=host, port=port, jump=jump,
                  identity=identity, python=python, workdir=workdir)  # fmt: skip


def adb_device(
    name: str,
    board: str,
    serial: str,
    *,
    python: str | None = None,
    workdir: str | None = None,
) -> Device:
    """A device reached by adb.

    Args:
        serial: as ``adb devices`` prints it, or ``address:port``.
        python, workdir: see ``Device``.

    Raises:
        UsageError: no such serial is possible.
    """
    if not _SERIAL.fullmatch(serial):
        raise UsageError(f"{serial[:80]!r} is no serial: take one that 'adb devices' prints")
    _check_words(python=python, workdir=workdir)
    return Device(name, board, "adb", serial=serial, python=python, workdir=workdir)


def _check_words(**options: str | None) -> None:
    for option, value in options.items():
        if value is not None and not _WORD.fullmatch(value):
            raise UsageError(f"{option} {value[:80]!r} holds characters that it cannot hold")


def host_device() -> Device:
    """This machine, which is always a device."""
    return Device(HOST, HOST, "local")


def devices() -> list[Device]:
    """This machine and all devices of the registry, in its order.

    Raises:
        UsageError: the registry is not TOML or says what no registry says, with the field.
    """
    path = registry_path()
    return [host_device(), *(_read(path) if path.exists() else [])]


def find_device(name: str) -> Device:
    """The device of that name, else the only one of that board.

    Raises:
        DeviceUnknown: none or several; says which there are and how to add one.
    """
    known = devices()
    for device in known:
        if device.name == name:
            return device
    of_board = [device for device in known if device.board == name]
    if len(of_board) == 1:
        return of_board[0]
    if of_board:
        names = ", ".join(device.name for device in of_board)
        raise DeviceUnknown(f"several devices are of the board {name!r}: name one of {names}")
    if name in boards():
        raise DeviceUnknown(f"no device of the board {name!r} yet: add one with "
                            f"'{_add_command('NAME', name)}'")  # fmt: skip
    near = difflib.get_close_matches(name, [*(device.name for device in known), *boards()], n=1)
    hint = f"did you mean {near[0]!r}? Otherwise " if near else ""
    called = name if _NAME.fullmatch(name) else "NAME"
    raise DeviceUnknown(
        f"no device is called {name!r}: {hint}add it with '{_add_command(called, 'BOARD')}'"
    )


def _add_command(name: str, board: str) -> str:
    return f"lwprof devices add {shlex.quote(name)} --board {board} --ssh user@host"


def add_device(device: Device) -> Path:
    """Adds a device to the registry, in one step; what stands there stays as it is.

    Returns:
        The registry's path.

    Raises:
        UsageError: the name is taken or impossible, or its board cannot be reached this way.
        DeviceUnknown: no such board.
        HostError: the registry cannot be written.
    """
    if not _NAME.fullmatch(device.name):
        raise UsageError(f"{device.name[:80]!r} cannot be a device's name: letters, digits, . _ -")
    if device.how == "local" or device.name == HOST:
        raise UsageError(f"{HOST!r} is always this machine: choose another name and an address")
    reach = load_profile(device.board).reach.how
    if device.how not in reach:
        raise UsageError(f"a {device.board} is reached by {' or '.join(reach)}, not {device.how}")
    path = registry_path()
    with locked(path.parent):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if any(device.name == other.name for other in (_read(path) if text else [])):
            raise UsageError(f"a device is called {device.name!r} already: choose another name, "
                             f"or 'lwprof devices remove {device.name}'")  # fmt: skip
        entry = _written(device)
        joined = f"{text.rstrip()}\n\n{entry}" if text.strip() else entry
        _parse(path, joined)  # never write what could not be read back
        write_atomically(path, joined)
    return path


def remove_device(name: str) -> Path:
    """Takes a device out of the registry; all else there stays as it is.

    Returns:
        The registry's path.

    Raises:
        DeviceUnknown: no device of that name (a board's name will not do).
        UsageError: its entry is written in a way that only an editor can change safely.
        HostError: the registry cannot be written.
    """
    path = registry_path()
    with locked(path.parent):
        known = _read(path) if path.exists() else []
        if all(device.name != name for device in known):
            raise DeviceUnknown(f"no device is called {name!r}: 'lwprof devices' lists them")
        text = path.read_text(encoding="utf-8")
        plain = rf'\[devices\.(?:"{re.escape(name)}"|{re.escape(name)})\][ \t]*\n(?:(?!\[).*\n?)*'
        joined = re.sub(rf"(?m)^{plain}", "", text).rstrip("\n")
        joined += "\n" if joined else ""
        left = _parse(path, joined)
        if left != [device for device in known if device.name != name]:
            raise UsageError(f"{path}: take {name!r} out with an editor: its entry is not written "
                             "as lwprof writes it")  # fmt: skip
        write_atomically(path, joined)
    return path


def _written(device: Device) -> str:
    lines = [f'[devices."{device.name}"]', f'board = "{device.board}"',
             f'{device.how} = "{device.address}"']  # fmt: skip
    for option in ("jump", "identity", "python", "workdir"):
        value = getattr(device, option)
        if value is not None:
            lines.append(f'{option} = "{value}"')
    return "\n".join(lines) + "\n"


def _read(path: Path) -> list[Device]:
    return _parse(path, None)


def _parse(path: Path, text: str | None) -> list[Device]:
    try:
        registry = msgspec.convert(read_toml(path, text), _Registry)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}; correct that field") from None
    return [_device(name, entry, path) for name, entry in registry.devices.items()]


def _device(name: str, entry: _Entry, path: Path) -> Device:
    where = f"{path}: devices.{name[:80]}"
    if not _NAME.fullmatch(name) or name == HOST:
        raise UsageError(f"{where}: {name[:80]!r} cannot be a device's name; rename it")
    if (entry.ssh is None) == (entry.adb is None):
        raise UsageError(f"{where}: needs either ssh or adb; correct that field")
    try:
        if entry.ssh is not None:
            return ssh_device(name, entry.board, entry.ssh, jump=entry.jump,
                              identity=entry.identity, python=entry.python,
                              workdir=entry.workdir)  # fmt: skip
        return adb_device(name, entry.board, entry.adb or "", python=entry.python,
                          workdir=entry.workdir)  # fmt: skip
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
