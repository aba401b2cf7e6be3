"""Checks of what the host sends: small, by hand, with the field's name in every refusal."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Optional, Sequence

from .failures import Failure

_SHA256 = re.compile(r"[0-9a-f]{64}")


def refuse(message: str) -> Failure:
    """The failure for a malformed request."""
    return Failure("request", message, side="host")


def mapping(value: Any, what: str) -> Dict[str, Any]:
    """``value`` if it is an object."""
    if not isinstance(value, dict):
        raise refuse("%s must be an object" % what)
    return value


def items(value: Any, what: str, most: int = 100000) -> List[Any]:
    """``value`` if it is a list of at most ``most`` entries."""
    if not isinstance(value, list) or len(value) > most:
        raise refuse("%s must be a list of at most %d entries" % (what, most))
    return value


def text(value: Any, what: str, most: int = 4096) -> str:
    """``value`` if it is text without NUL, at most ``most`` characters."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise refuse("%s must be text of at most %d characters" % (what, most))
    return value


def integer(value: Any, what: str, low: int, high: int) -> int:
    """``value`` if it is a whole number between ``low`` and ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise refuse("%s must be a whole number between %d and %d" % (what, low, high))
    return value


def number(value: Any, what: str, low: float, high: float) -> float:
    """``value`` as a float if it is a finite number between ``low`` and ``high``."""
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise refuse("%s must be a number between %g and %g" % (what, low, high))
    return float(value)


def flag(value: Any, what: str) -> bool:
    """``value`` if it is true or false."""
    if type(value) is not bool:
        raise refuse("%s must be true or false" % what)
    return value


def choice(value: Any, what: str, allowed: Sequence[str]) -> str:
    """``value`` if it is one of ``allowed``."""
    if value not in allowed:
        raise refuse("%s must be one of %s" % (what, ", ".join(allowed)))
    return str(value)


def sha256(value: Any, what: str) -> str:
    """``value`` if it is a SHA-256 in lower-case hexadecimal."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise refuse("%s must be a SHA-256 in hexadecimal" % what)
    return value


def optional_number(value: Any, what: str, low: float, high: float) -> Optional[float]:
    """None, or a number as in ``number``."""
    return None if value is None else number(value, what, low, high)


def integers(value: Any, what: str, low: int, high: int, most: int = 100000) -> List[int]:
    """``value`` if it is a list of whole numbers."""
    return [integer(entry, what, low, high) for entry in items(value, what, most)]
