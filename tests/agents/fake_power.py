"""Invented trees of power sensors, and a rail whose true energy follows a process's work."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

LOADED_MV = 5000


def write(root: Path, path: str, text: str) -> Path:
    """One file of a tree."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def orin_nano(root: Path) -> Path:
    """An INA3221 in its hwmon form, as the reference describes it; figures are invented."""
    base = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    rows = (("VDD_IN", 5056, 912), ("VDD_CPU_GPU_CV", 5056, 120), ("VDD_SOC", 5048, 264))
    for channel, (label, millivolts, milliamperes) in enumerate(rows, 1):
        write(root, f"{base}/in{channel}_label", f"{label}\n")
        write(root, f"{base}/in{channel}_input", f"{millivolts}\n")
        write(root, f"{base}/curr{channel}_input", f"{milliamperes}\n")
        write(root, f"{base}/shunt{channel}_resistor", "5000\n")
        write(root, f"{base}/in{channel}_enable", "1\n")
    for channel in (4, 5, 6):
        write(root, f"{base}/in{channel}_input", "4560\n")
    write(root, f"{base}/in7_label", "sum of shunt voltages\n")
    write(root, f"{base}/in7_input", "6480\n")
    write(root, f"{base}/samples", "1\n")
    write(root, f"{base}/update_interval", "0\n")
    return root


def agx_orin(root: Path) -> Path:
    """Two INA3221 whose rails are separate supplies: there is no module total."""
    chips = {"1-0040": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
             "1-0041": ("NC", "VDDQ_VDD2_1V8AO", "NC")}  # fmt: skip
    for number, (chip, labels) in enumerate(chips.items()):
        base = f"/sys/bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon{number + 2}"
        for channel, label in enumerate(labels, 1):
            write(root, f"{base}/in{channel}_label", f"{label}\n")
            write(root, f"{base}/in{channel}_input", "19000\n")
            write(root, f"{base}/curr{channel}_input", "100\n")
            write(root, f"{base}/shunt{channel}_resistor", "2000\n")
    return root


def nano(root: Path) -> Path:
    """The iio form of JetPack 4."""
    base = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for channel, label in enumerate(("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")):
        write(root, f"{base}/rail_name_{channel}", f"{label}\n")
        write(root, f"{base}/in_power{channel}_input", f"{2200 - 700 * channel}\n")
        write(root, f"{base}/in_voltage{channel}_input", "5040\n")
    return root


class SyntheticRail:
    """Publishes a rail's current in place, as an averaging converter does.

    True power is ``idle_w`` + ``per_cpu_w`` × processor seconds per second of the watched
    process. True energy between two instants follows from its processor time alone.

    Args:
        path: the file ``currN_input`` in mA at ``LOADED_MV``.
        idle_w: power without work.
        per_cpu_w: watts of one busy processor.
        period_s: how often a new value is published.
        find: finds the process to watch; asked again when the last one has ended.
    """

    def __init__(
        self,
        path: Path,
        idle_w: float,
        per_cpu_w: float,
        period_s: float,
        find: Callable[[], list[int]] = list,
    ) -> None:
        self.idle_w, self.per_cpu_w, self._period_s = idle_w, per_cpu_w, period_s
        self._handle = os.open(path, os.O_WRONLY)
        self._find = find
        self._looked = 0.0
        self._stop = threading.Event()
        self.pid: int | None = None
        self.log: list[tuple[int, float]] = []
        """Nanoseconds (monotonic) and the joules above idle drawn until then."""
        self._publish(idle_w)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _publish(self, watts: float) -> None:
        os.pwrite(self._handle, b"%-9d\n" % round(watts * 1e6 / LOADED_MV), 0)

    def _cpu_s(self) -> float | None:
        if self.pid is None and time.monotonic() - self._looked > 0.05:
            self._looked = time.monotonic()
            found = self._find()
            self.pid = found[-1] if found else None
        try:
            return time.clock_gettime_ns((~self.pid << 3) | 2) * 1e-9 if self.pid else None
        except OSError:
            self.pid = None
            return None

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # where it is allowed: this thread only
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        now, cpu, drawn = time.monotonic_ns(), self._cpu_s(), 0.0
        due = now * 1e-9
        while not self._stop.is_set():
            due += self._period_s
            time.sleep(max(0.0, due - time.monotonic()))
            before, last, now, cpu = now, cpu, time.monotonic_ns(), self._cpu_s()
            worked = max(0.0, cpu - last) if cpu is not None and last is not None else 0.0
            drawn += self.per_cpu_w * worked
            self.log.append((now, drawn))
            self._publish(self.idle_w + self.per_cpu_w * worked / ((now - before) * 1e-9))

    def above_idle_j(self, start_ns: int, end_ns: int) -> float:
        """True joules above idle between two instants."""
        times = [t for t, _ in self.log]
        drawn = [j for _, j in self.log]
        first, last = np.interp((start_ns, end_ns), times, drawn)
        return float(last - first)

    def late(self) -> float:
        """Share of its deadlines that it missed by half a period or more."""
        times = np.array([t for t, _ in self.log])
        return float(np.mean(np.diff(times) > 1.5e9 * self._period_s))

    def close(self) -> None:
        """Ends it."""
        self._stop.set()
        self._thread.join()
        os.close(self._handle)


def processes_of(tree: Path, command: bytes) -> list[int]:
    """Processes of the agents that read this tree, oldest first: ``serve`` or ``worker``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                env = (entry / "environ").read_bytes()
                began = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[19])
            except (OSError, IndexError, ValueError):
                continue
            if command in words and f"LWPROF_SYSROOT={tree}".encode() in env:
                found.append((began, int(entry.name)))
    return [pid for _, pid in sorted(found)]
