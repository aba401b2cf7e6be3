"""From a device's address to the target that reaches it."""

from __future__ import annotations

from typing import Protocol

from lwprof.agents.targets._base import Target
from lwprof.agents.targets.adb import AdbTarget
from lwprof.agents.targets.local import LocalTarget
from lwprof.errors import UsageError


class Addressed(Protocol):
    """A device's name and how it is reached: ``local``, ``ssh`` or ``adb``."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> str: ...

    @property
    def serial(self) -> str | None: ...


def open_target(device: Addressed) -> Target:
    """The target for a device; the caller closes it.

    Raises:
        UsageError: there is no way to reach such a device.
    """
    if device.how == "local":
        return LocalTarget(device.name)
    if device.how == "adb":
        return AdbTarget(device.name, device.serial)
    raise UsageError(
        f"device {device.name!r} is reached by {device.how}, which this version of lwprof "
        f"cannot do yet: only devices that are this machine can be measured"
    )
