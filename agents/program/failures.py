"""Failures that are reported to the host by kind, never by their text alone.

Kinds: ``request`` (the host asked for something malformed), ``blob`` (a file is missing
or damaged), ``model`` (the runtime refuses the model), ``provider`` (the execution provider
is absent or did not run everything), ``runtime_missing``, ``memory``, ``profile`` (the
runtime's profile is incomplete), ``worker_died``, ``deadline``, ``protocol``, ``busy`` (another
session holds the device), ``lost`` (a job ended without a result), ``internal``.
"""

from __future__ import annotations

from typing import Any, Dict

_MAX_TEXT = 2000


class Failure(Exception):
    """What went wrong, in the form in which it travels to the host.

    Args:
        kind: one of the kinds above.
        message: one line.
        transient: whether trying again can help.
        side: whose fault, ``device`` or ``host``.
    """

    def __init__(
        self, kind: str, message: str, transient: bool = False, side: str = "device"
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = one_line(message)
        self.transient = transient
        self.side = side

    def to_json(self) -> Dict[str, Any]:
        """The protocol's form of the failure."""
        return {
            "kind": self.kind,
            "message": self.message,
            "transient": self.transient,
            "side": self.side,
        }

    @classmethod
    def from_json(cls, error: Dict[str, Any]) -> Failure:
        """The failure that a worker reported."""
        return cls(
            str(error.get("kind", "internal")),
            str(error.get("message", "")),
            bool(error.get("transient", False)),
            str(error.get("side", "device")),
        )


def one_line(text: str) -> str:
    """``text`` on one line, without control characters, cut to a sane length."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "\u2026"
