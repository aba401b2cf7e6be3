"""Targets: how the agent's program gets to a device and is spoken to there."""

from lwprof.agents.targets._base import Connection, Target
from lwprof.agents.targets._carrier import Carrier, Ran
from lwprof.agents.targets._opening import Addressed, open_target, settings_of
from lwprof.agents.targets.local import LocalConnection, LocalTarget, default_workdir

__all__ = [
    "Addressed", "Carrier", "Connection", "LocalConnection", "LocalTarget", "Ran", "Target",
    "default_workdir", "open_target", "settings_of",
]  # fmt: skip
