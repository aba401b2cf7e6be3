"""The program that runs on a device, and the targets that carry it there.

``Agent`` asks a device to run blocks and returns raw samples. This room knows nothing
of graphs, stores or statistics.
"""

from lwprof.agents.client import Agent, ClockOffset, Prepared
from lwprof.agents.messages import BlockRecord, Facts
from lwprof.agents.targets import Connection, LocalTarget, Target, open_target

__all__ = [
    "Agent", "BlockRecord", "ClockOffset", "Connection", "Facts", "LocalTarget", "Prepared", "Target",
    "open_target",
]  # fmt: skip
