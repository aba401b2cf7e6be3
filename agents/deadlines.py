"""How long a block may take on a device at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_S = 7 * 86400.0
_LOAD_S = 900.0


def default_deadline_s(script: Mapping[str, Any]) -> float:
    """The sum of what a script's steps may take at most, seconds."""
    total = _LOAD_S
    for step in script["steps"]:
        if step["do"] in ("warm", "time"):
            total += 2 * float(step.get("max_s", 600.0)) + 60.0
        elif step["do"] == "energy":
            total += 60.0 + sum(2 * float(w["seconds"]) + 10.0 for w in step["windows"])
        else:
            total += _LOAD_S
    return min(total, MOST_S)
