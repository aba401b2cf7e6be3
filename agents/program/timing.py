"""The timed loops. Nothing but the inference lies between two readings of the clock."""

from __future__ import annotations

import gc
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

# An open-ended slice of a profiled session stops here: the runtime's profiler loses
# events beyond a million.
_MOST_PROFILED_RUNS = 5000
_MOST_PER_SLICE = 1000000


def slice_order(sessions: Sequence[str], slices: int, order: str, seed: int) -> List[str]:
    """Names in the order in which their slices run, ``slices`` of each.

    ``abba``: forward and backward in turn, so that a drift that is linear over two
    rounds touches all alike. ``random``: each round shuffled by ``seed``.
    """
    if order == "random":
        import random  # slow to import, and seldom needed

        rounds = random.Random(seed)
    out: List[str] = []
    for index in range(slices):
        current = list(sessions)
        if order == "random":
            rounds.shuffle(current)
        elif index % 2:
            current.reverse()
        out += current
    return out


def exactly(run: Callable[[], Any], n: int) -> List[int]:
    """Nanoseconds of each of ``n`` calls."""
    times = [0] * n
    clock = time.perf_counter_ns
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(n):
            start = clock()
            run()
            times[index] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return times


def as_many_as_fit(run: Callable[[], Any], seconds: float, most: int) -> List[int]:
    """Nanoseconds of each call until ``seconds`` are over; at least one, at most ``most``."""
    times: List[int] = []
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    size = 1
    while len(times) < most:
        # The clock that ends the slice is read between batches that double, so that a
        # short inference is not followed by bookkeeping each time.
        times += exactly(run, min(size, most - len(times)))
        left = end - clock()
        if left <= 0:
            break
        mean = max(1.0, sum(times) / len(times))
        size = max(1, min(2 * size, int(left / mean)))
    return times


class Step:
    """One ``time`` step: sessions in alternating slices, within a time limit.

    Args:
        runs: the timed call of each session.
        slices: slices per session.
        n: iterations per slice; None fills ``slice_s`` instead.
        max_s: no new slice starts after this many seconds (each session has one at least).
        profiled: sessions whose number of runs is bounded by their profiler.
    """

    def __init__(
        self,
        runs: Dict[str, Callable[[], Any]],
        slices: int,
        n: Optional[int],
        slice_s: float,
        max_s: float,
        profiled: Sequence[str] = (),
    ) -> None:
        self._runs = runs
        self._slices = slices
        self._n = n
        self._slice_s = slice_s
        self._max_s = max_s
        self._profiled = frozenset(profiled)

    def execute(self, order: Sequence[str]) -> Dict[str, Any]:
        """``times_ns`` by session and slice, the ``order`` that was run, and ``duration_s``."""
        times: Dict[str, List[List[int]]] = {name: [] for name in self._runs}
        done: List[str] = []
        start = time.perf_counter()
        for name in order:
            # The step ends between rounds, so that all sessions have the same slices.
            whole = len(done) % len(self._runs) == 0
            if done and whole and time.perf_counter() - start >= self._max_s:
                break
            times[name].append(self._slice(name))
            done.append(name)
        return {"times_ns": times, "order": done, "duration_s": time.perf_counter() - start}

    def _slice(self, name: str) -> List[int]:
        if self._n is not None:
            return exactly(self._runs[name], self._n)
        most = _MOST_PROFILED_RUNS if name in self._profiled else _MOST_PER_SLICE
        return as_many_as_fit(self._runs[name], self._slice_s, max(1, most // self._slices))


def repeat(run: Callable[[], Any], seconds: float, rate_hz: Optional[float]) -> Dict[str, int]:
    """Runs again and again for ``seconds``, without a reading of the clock for each run.

    Args:
        rate_hz: runs per second at most, with idle time in between; None: one after another.

    Returns:
        ``t0_ns`` and ``t1_ns`` on the monotonic clock, and ``n`` runs between them.
    """
    clock = time.monotonic_ns
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        end = start + int(seconds * 1e9)
        if rate_hz is not None:
            return _paced(run, start, end, int(1e9 / rate_hz))
        now, n, size = start, 0, 1
        while now < end:
            for _ in range(size):
                run()
            n += size
            now = clock()
            left = (end - now) * n / max(1, now - start)
            size = max(1, min(2 * size, int(left)))
        return {"t0_ns": start, "t1_ns": now, "n": n}
    finally:
        if collecting:
            gc.enable()


def _paced(run: Callable[[], Any], start: int, end: int, period_ns: int) -> Dict[str, int]:
    n = 0
    while start + n * period_ns < end:
        run()
        n += 1
        # The window ends with a whole period, so that its idle share is the rate's.
        wait = start + n * period_ns - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait * 1e-9)
    return {"t0_ns": start, "t1_ns": time.monotonic_ns(), "n": n}


def warm(
    runs: Dict[str, Callable[[], Any]], min_n: int, min_s: float, max_s: float
) -> Dict[str, Any]:
    """Untimed runs, sessions in turn, until each has ``min_n`` runs and ``min_s`` seconds.

    Returns:
        ``runs`` by session, and ``duration_s``; ended by ``max_s`` at the latest, between
        two runs.
    """
    counts = dict.fromkeys(runs, 0)
    spent = dict.fromkeys(runs, 0.0)
    start = time.perf_counter()
    waiting = list(runs)
    while waiting:
        for name in list(waiting):
            began = time.perf_counter()
            if began - start >= max_s:
                return {"runs": counts, "duration_s": began - start}
            runs[name]()
            counts[name] += 1
            spent[name] += time.perf_counter() - began
            if counts[name] >= min_n and spent[name] >= min_s:
                waiting.remove(name)
    return {"runs": counts, "duration_s": time.perf_counter() - start}
