"""Trying again, for passing reasons only and under one deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lwprof.errors import LwprofError

T = TypeVar("T")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


def insist(
    work: Callable[[], T], give_up: float, *, answered: Callable[[], bool] = lambda: False
) -> T:
    """The result of ``work``, which is repeated while it fails for passing reasons.

    Args:
        work: safe to repeat.
        give_up: monotonic seconds after which it is not repeated any more.
        answered: tells after a failure whether the device itself reported it: trying again
            is then the caller's decision.

    Raises:
        LwprofError: the last failure.
    """
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return work()
        except LwprofError as error:
            left = give_up - time.monotonic()
            if not error.transient or answered() or left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
