"""Reads one power sensor at its own rate, in a thread beside the blocks.

Deadlines are absolute, so that a late reading does not shift the next; every reading carries
its own time, so that nothing depends on the deadlines being met. Raw bytes are kept and parsed
when sampling is over: parsing would be the larger part of the cost.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
import time
from typing import Any, Dict, List, Optional

from .instruments.sensor import Sensor

_PR_SET_TIMERSLACK = 29
# A reading with its wake-up takes some 50 µs of a processor: 200 a second where one is free,
# 100 where each one taken is the work's own.
_LEAST_PERIOD_S = 0.005
_LEAST_BUSY_PERIOD_S = 0.010
_COSTLY_PERIOD_S = 0.2
_MOST_SAMPLES = 200000
# A reading in which the thread lost the processor for so long has no certain time.
_SLOW_READ_NS = 50000000
_DITHER = 0.25


class Sampler:
    """Samples a sensor from ``start`` to ``stop``; ``pause`` and ``resume`` in between.

    Args:
        sensor: not opened yet; this object opens and closes it.
        period_s: seconds between readings; None for the sensor's own period.
        avoid: processors on which the measured work runs; another one is used if there is one.
        seed: of the dither of readings that start a conversion.
    """

    def __init__(
        self,
        sensor: Sensor,
        period_s: Optional[float] = None,
        avoid: Optional[List[int]] = None,
        seed: int = 0,
    ) -> None:
        self._sensor = sensor
        self._free = sorted(os.sched_getaffinity(0) - set(avoid or []))
        least = _LEAST_PERIOD_S if self._free else _LEAST_BUSY_PERIOD_S
        if sensor.costly:
            least = _COSTLY_PERIOD_S
        self._period_ns = int(max(least, period_s or sensor.period_s) * 1e9)
        self._dither = random.Random(seed) if sensor.on_demand else None
        self._over = False
        self._paused = False
        self._running = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._times: List[int] = []
        self._raw: List[bytes] = []
        self._failures: Dict[str, int] = {}
        self._slow = 0
        self._late = 0
        self._changed: Optional[str] = None
        self._states: List[Dict[str, Any]] = []
        self._cpu_ns = 0

    def start(self) -> None:
        """Opens the sensor and begins.

        Raises:
            OSError: the sensor cannot be opened.
        """
        self._sensor.open()
        self._changed = self._sensor.check()
        self._states.append(self._sensor.state())
        self._running.set()
        self._thread = threading.Thread(target=self._loop, name="power", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Takes no readings until ``resume``."""
        self._running.clear()
        self._paused = True

    def resume(self) -> None:
        """Goes on."""
        self._paused = False
        self._running.set()

    def stop(self) -> Dict[str, Any]:
        """Ends it; the samples as they travel.

        Returns:
            ``t_ns`` (CLOCK_MONOTONIC, the middle of each reading), ``values`` by rail (whole
            numbers in the rail's unit, null where a reading was no number), ``stamps_ns`` where
            the sensor stamps its readings, ``period_ns``, ``failures`` by errno, ``slow``,
            ``late``, ``changed`` (what is no longer as it was found), ``states`` (before,
            after), ``cpu_s`` (processor time of the thread).
        """
        self._over, self._paused = True, False
        self._running.set()
        if self._thread is not None:
            self._thread.join(10.0)
        changed = self._changed or self._sensor.check()
        self._states.append(self._sensor.state())
        rows = [self._sensor.parse(raw) for raw in self._raw]
        stamps = [self._sensor.stamp_ns(raw) for raw in self._raw]
        self._sensor.close()
        found: Dict[str, Any] = {
            "t_ns": self._times,
            "values": {
                rail.label: [row[index] for row in rows]
                for index, rail in enumerate(self._sensor.rails)
            },
            "period_ns": self._period_ns,
            "failures": self._failures,
            "slow": self._slow,
            "late": self._late,
            "states": self._states,
            "cpu_s": self._cpu_ns * 1e-9,
        }
        if any(stamp is not None for stamp in stamps):
            found["stamps_ns"] = stamps
        if changed:
            found["changed"] = changed
        return found

    def _loop(self) -> None:
        self._settle()
        began_cpu = time.thread_time_ns()
        read, clock, sleep = self._sensor.read, time.monotonic_ns, time.sleep
        times, raw, period = self._times, self._raw, self._period_ns
        due = clock()
        # Flags, not events, are looked at between readings: an event's lock costs more.
        while not self._over and len(times) < _MOST_SAMPLES:
            if self._paused:
                self._running.wait()
                due = clock()
            before = clock()
            try:
                data = read()
            except OSError as error:
                self._note(error)
            else:
                after = clock()
                if after - before > _SLOW_READ_NS:
                    self._slow += 1
                else:
                    times.append((before + after) // 2)
                    raw.append(data)
            due += period
            wait = due - clock()
            if self._dither is not None:
                wait += int(self._dither.uniform(-_DITHER, _DITHER) * period)
            if wait > 0:
                sleep(wait * 1e-9)
            elif wait < -period:
                self._late += 1
                due = clock()  # what was missed stays missed: no burst of stale readings
        self._cpu_ns = time.thread_time_ns() - began_cpu

    def _note(self, error: OSError) -> None:
        key = str(error.errno or error)[:64]
        if key in self._failures or len(self._failures) < 16:
            self._failures[key] = self._failures.get(key, 0) + 1

    def _settle(self) -> None:
        """Precise timers, and a processor that the measured work does not use."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        if self._free:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._free)  # of this thread only
