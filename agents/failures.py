"""From a device's failure, by its kind, to one of lwprof's exceptions."""

from __future__ import annotations

from lwprof.agents.messages import ErrorReply
from lwprof.errors import (
    DeviceError,
    DeviceTransient,
    HostError,
    HostTransient,
    LwprofError,
    MissingExtra,
    ModelError,
    UsageError,
)

_USAGE: dict[str, type[UsageError]] = {
    "model": ModelError,
    "provider": UsageError,
    "runtime_missing": MissingExtra,
}


def to_exception(error: ErrorReply, device: str) -> LwprofError:
    """The exception to raise for a failure that the agent of ``device`` reported."""
    text = f"{device}: {error.message or error.kind}"
    if error.kind in _USAGE:
        return _USAGE[error.kind](text)
    if error.side == "host":
        return HostTransient(text) if error.transient else HostError(text)
    return DeviceTransient(text) if error.transient else DeviceError(text)
