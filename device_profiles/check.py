"""The outcome of looking at one thing that a measurement needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: ``fail`` means that nothing can be measured, ``warn`` that numbers may be
            worse or that something optional is missing.
        found: what was found.
        advice: how to mend it; "" when nothing is to be done.
    """

    name: str
    status: Status
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """All fields as JSON."""
        return {"name": self.name, "status": self.status, "found": self.found,
                "advice": self.advice}  # fmt: skip
