"""The one text of a description, and the key that is its digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY_PREFIX = "w1:"


def canonical_json(description: dict[str, Any]) -> str:
    """The one text of a description: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(text: str) -> str:
    """``w1:<sha256>`` of a canonical text."""
    return KEY_PREFIX + hashlib.sha256(text.encode("ascii")).hexdigest()
