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
    work: Callable[[], T], patience_s: float, *, answered: Callable[[], bool] = lambda: False
) -> T:
    """The result of ``work``, which is repeated while it fails for passing reasons.

    Args:
        work: safe to repeat.
        patience_s: how long after its first failure it is repeated.
        answered: tells after a failure whether the device itself reported it: trying again
            is then the caller's decision.

    Raises:
        LwprofError: the last failure.
    """
    pause: float = _FIRST_PAUSE_S
    give_up: float | None = None
    while True:
        try:
            return work()
        except LwprofError as error:
            if give_up is None:
                give_up = time.monotonic() + patience_s
            left = give_up - time.monotonic()
            if not error.transient or answered() or left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
