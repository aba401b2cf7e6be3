"""What to do about a device that is hot, throttled or badly supplied before a block begins.

Blocks that something touched are flagged whatever the policy (``statistics.flags``); the
guard keeps blocks from beginning in such a state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lwprof.agents import Agent
from lwprof.agents.native import NativeAgent
from lwprof.device_profiles import load_profile
from lwprof.errors import DeviceError

Action = Literal["wait", "flag", "refuse"]

_BITS = {0: "under-voltage", 1: "a capped clock", 2: "throttling", 3: "the soft temperature limit"}
_COOLS = ("cpu", "processor", "powerclamp")
_LIMIT_C = 95.0


@dataclass(frozen=True, slots=True)
class Guard:
    """The policy of one session.

    Attributes:
        action: ``wait`` until it is over (then as ``flag``), ``flag``: begin at once, blocks
            carry their flags; ``refuse``: end the session.
        limit_c: the board's limit; None: what no board exceeds.
        margin_c: how far below the limit a block may begin.
        most_wait_s: after this long it begins all the same.
        least_battery: percent of charge below which a session is refused, whatever the action.
    """

    action: Action = "wait"
    limit_c: float | None = None
    margin_c: float = 5.0
    most_wait_s: float = 120.0
    least_battery: int = 10

    def reasons(self, state: Mapping[str, Any]) -> list[str]:
        """Why a block should not begin in this state (a snapshot as JSON), in words."""
        found = []
        hottest = max(
            (float(zone["temp_c"]) for zone in state.get("thermal") or ()), default=-math.inf
        )
        limit = (_LIMIT_C if self.limit_c is None else self.limit_c) - self.margin_c
        if hottest >= limit:
            found.append(f"{hottest:.0f} °C (begins below {limit:.0f} °C)")
        bits = int(state.get("throttled_bits") or 0)
        found += [name for bit, name in _BITS.items() if bits >> bit & 1]
        for name, step in (state.get("cooling") or {}).items():
            if step > 0 and any(part in str(name).lower() for part in _COOLS):
                found.append(f"{str(name).partition(':')[2] or name} slows the processor down")
        return found

    def before(
        self,
        look: Callable[[], Mapping[str, Any]],
        *,
        tell: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> float:
        """Returns when a block may begin; the seconds that it waited.

        Args:
            look: the device's state as JSON.
            tell: what is waited for.

        Raises:
            DeviceError: the policy refuses, or the battery is nearly empty.
        """
        start = clock()
        pause = 1.0
        while True:
            state = look()
            self._check_battery(state)
            reasons = self.reasons(state)
            waited = clock() - start
            if not reasons or self.action == "flag":
                return waited
            if self.action == "refuse":
                raise DeviceError(
                    f"the device is not fit to be measured: {', '.join(reasons)}; cool it or "
                    "mend its supply, then try again"
                )
            if waited >= self.most_wait_s:
                return waited
            tell(f"waiting: {', '.join(reasons)}")
            sleep(min(pause, self.most_wait_s - waited))
            pause = min(10.0, 1.5 * pause)

    def _check_battery(self, state: Mapping[str, Any]) -> None:
        battery = state.get("battery") or {}
        percent = battery.get("capacity_percent")
        if isinstance(percent, int) and percent < self.least_battery:
            if battery.get("status") in ("Charging", "Full"):
                return
            raise DeviceError(f"the device's battery is at {percent} %: charge it before measuring")


def guard_for(agent: Agent, board: str) -> Guard | None:
    """The policy of a session on a device of ``board``; None where nothing tells its state."""
    if isinstance(agent, NativeAgent):
        return None
    return Guard(limit_c=load_profile(board).limits.temp_c)
