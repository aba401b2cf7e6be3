"""Every exception lwprof raises, drawn as a tree.

    LwprofError
    ├── UsageError            bad input or usage: exit code 2
    │   ├── ModelError        a model file or graph cannot be used
    │   ├── UnitError         a duration, energy, size or percentage cannot be parsed
    │   ├── MissingExtra      an optional dependency is not installed
    │   ├── DeviceUnknown     no such device, or several match
    │   ├── StoreError        a store cannot be opened, read or migrated
    │   └── CostMiss          a cost model does not know a workload
    └── RunError              a run failed: exit code 1
        ├── HostError         the fault lies with this machine
        │   └── HostTransient   … and trying again can help
        └── DeviceError       the fault lies with the device or its runtime
            └── DeviceTransient … and trying again can help

Whose side failed and whether a retry can help are classes, so that callers
decide by ``except`` and never by parsing text. Only transient errors are
retried. ``transient`` says the same as an attribute.
"""

from __future__ import annotations


class LwprofError(Exception):
    """Base of all lwprof errors. The message is one line: what, where, what to do next."""

    exit_code = 1
    transient = False

    def __str__(self) -> str:
        # One clear line, whatever a runtime or a file name put into the message.
        text = " ".join(super().__str__().split())
        return "".join(c if c.isprintable() else "?" for c in text)


class UsageError(LwprofError):
    """Bad input or usage (exit code 2)."""

    exit_code = 2


class ModelError(UsageError):
    """A model cannot be read, is invalid, or needs something that was not given."""


class UnitError(UsageError):
    """A quantity with a unit could not be parsed."""


class MissingExtra(UsageError):
    """An optional dependency is missing; the message names the extra to install."""


class DeviceUnknown(UsageError):
    """No device of that name, or several match."""


class StoreError(UsageError):
    """A store cannot be opened, read or migrated."""


class CostMiss(UsageError):
    """A cost model has no answer for a workload.

    Args:
        message: what is missing and how to get it.
        workloads: keys of the workloads that are missing.
    """

    def __init__(self, message: str, workloads: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.workloads = workloads


class RunError(LwprofError):
    """A run failed after it had started (exit code 1)."""


class HostError(RunError):
    """The fault lies with this machine; trying again will not help."""


class HostTransient(HostError):
    """The fault lies with this machine; trying again can help."""

    transient = True


class DeviceError(RunError):
    """The fault lies with the device or its runtime; trying again will not help."""


class DeviceTransient(DeviceError):
    """The fault lies with the device; trying again can help."""

    transient = True
