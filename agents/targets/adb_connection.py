"""A program on a phone, spoken to through ``adb shell``.

adb has no half-close and its client waits for ever on a cut link, so silence is asked
about: whoever waits longer than a moment has the phone probed on another channel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from lwprof.agents.targets.local import LocalConnection

# With a probe of at most 2.5 s a silent phone is noticed within 5 s.
_PROBE_AFTER_S = 2.0


class AdbConnection(LocalConnection):
    """The client's process is local; what it carries is not.

    Args:
        name: the device's name, for messages.
        command: the client with its arguments.
        env: its environment.
        still_there: whether the phone answers; takes 2.5 s at most.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        still_there: Callable[[], bool],
    ) -> None:
        super().__init__(name, command, env)
        self._still_there = still_there
        self._heard = time.monotonic()
        self._silent = False

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes; ``b""`` also when the phone has gone silent."""
        deadline = time.monotonic() + timeout_s
        while not self._silent:
            now = time.monotonic()
            patience = self._heard + _PROBE_AFTER_S - now
            try:
                data = super().receive(max(0.0, min(deadline - now, patience)))
                self._heard = time.monotonic()
                return data
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise
                self._silent = not self._still_there()
                self._heard = time.monotonic()
        return b""

    def stderr_tail(self) -> str:
        """The last lines of the program's standard error, or why it is unknown."""
        if self._silent:
            return "the phone is silent; check its cable and power"
        tail = super().stderr_tail()
        lines = [line for line in tail.splitlines() if not line.startswith("LW_END:")]
        if len(lines) == len(tail.splitlines()):
            # The shell of the phone did not live to say how the program ended.
            lines.append("the connection to the phone was cut")
        return "\n".join(lines)
