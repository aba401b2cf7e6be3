"""From a device's address to the target that reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lwprof.agents.targets._base import Target
from lwprof.agents.targets.local import LocalTarget
from lwprof.errors import UsageError

if TYPE_CHECKING:
    from lwprof.agents.targets.ssh_settings import SshSettings


class Addressed(Protocol):
    """A device's name and how it is reached: ``local``, ``ssh`` or ``adb``."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> str: ...

    @property
    def user(self) -> str | None: ...

    @property
    def host(self) -> str | None: ...

    @property
    def port(self) -> int: ...

    @property
    def serial(self) -> str | None: ...

    @property
    def jump(self) -> str | None: ...

    @property
    def identity(self) -> str | None: ...

    @property
    def python(self) -> str | None: ...

    @property
    def workdir(self) -> str | None: ...


def open_target(device: Addressed, known_hosts: Path | None = None) -> Target:
    """The target for a device; the caller closes it. Nothing is connected to yet.

    Args:
        device: its address.
        known_hosts: host keys that the user accepted, beside those of ssh itself.

    Raises:
        UsageError: there is no way to reach such a device.
    """
    if device.how == "local":
        return LocalTarget(device.name)
    if device.how == "ssh":
        from lwprof.agents.targets.ssh import SshTarget  # paramiko is slow to import

        return SshTarget(device.name, settings_of(device, known_hosts))
    if device.how == "adb":
        from lwprof.agents.targets.adb import WORKDIR, AdbTarget

        return AdbTarget(
            device.name, device.serial, python=device.python or "python3",
            workdir=device.workdir or WORKDIR,
        )  # fmt: skip
    raise UsageError(
        f"device {device.name!r} is reached by {device.how}, which lwprof cannot do: only "
        f"local, ssh and adb devices can be measured"
    )


def settings_of(device: Addressed, known_hosts: Path | None = None) -> SshSettings:
    """What is known about a device that is reached by ssh."""
    from lwprof.agents.targets.ssh_settings import SshSettings

    return SshSettings(
        host=device.host or "",
        user=device.user,
        port=None if device.port == 22 else device.port,  # else ssh's configuration decides
        jump=device.jump,
        identity=None if device.identity is None else Path(device.identity).expanduser(),
        known_hosts=known_hosts,
        python=device.python,
        workdir=device.workdir,
    )
