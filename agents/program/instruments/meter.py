"""External meters: what stands between the supply and the device.

A meter is a subclass of ``Meter`` with a request and a way to read an answer, and an entry in
``KINDS``. It is named, never guessed: ``LWPROF_METER=um25c:/dev/rfcomm0`` in the agent's
environment. The example is RDTech's UM series: one request byte, 130 bytes of answer.
"""

from __future__ import annotations

import os
import select
import struct
import termios
import time
from typing import Any, Callable, Dict, List, Optional

from .sensor import TOTAL, Missing, Rail, Sensor, Values

_ANSWER_S = 0.5


class Meter(Sensor):
    """A meter on a serial port that answers requests.

    Attributes:
        request: what asks for one reading.
        answer_bytes: length of an answer.
    """

    family = "meter"
    on_demand = True
    request = b""
    answer_bytes = 0

    def __init__(self, name: str, port: str, rail: Rail, period_s: float) -> None:
        Sensor.__init__(self, name, [rail], period_s)
        self._port = port
        self._handle: Optional[int] = None

    def open(self) -> None:
        self.close()
        handle = os.open(self._port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _raw(handle)
        except (OSError, termios.error) as error:
            os.close(handle)
            raise OSError("%s is no serial port: %s" % (self._port, error)) from None
        self._handle = handle

    def read(self) -> bytes:
        if self._handle is None:
            raise OSError("not open")
        termios.tcflush(self._handle, termios.TCIFLUSH)  # what came too late is no answer
        os.write(self._handle, self.request)
        answer = b""
        deadline = time.monotonic() + _ANSWER_S
        while len(answer) < self.answer_bytes:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._handle], [], [], left)[0]:
                raise OSError("the meter does not answer")
            answer += os.read(self._handle, self.answer_bytes - len(answer))
        return answer

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class RdTech(Meter):
    """RDTech's UM meters: 0xF0 asks; big-endian: model, volts, amperes, milliwatts (4 bytes).

    The layout is the one that sigrok's ``rdtech-um`` and rdserialtool read.

    Args:
        port: e.g. ``/dev/rfcomm0``.
        family: what the meter is called.
        model: the first two bytes of its answers.
        volt, ampere: counts for one of them.
    """

    request = b"\xf0"
    answer_bytes = 130

    def __init__(self, port: str, family: str, model: int, volt: int, ampere: int) -> None:
        rail = Rail("USB", ["board"], role=TOTAL, resolution=1000.0, high=120e6)
        Meter.__init__(self, family, port, rail, 0.5)
        self.family = family
        self._model, self._counts = model, float(volt * ampere)
        self.notes.append("all that the board draws from this USB cable")

    def parse(self, raw: bytes) -> Values:
        if len(raw) != self.answer_bytes:
            return [None]
        model, volts, amperes, milliwatts = struct.unpack(">HHHI", raw[:10])
        if model != self._model:
            return [None]
        product_mw = 1000.0 * volts * amperes / self._counts
        # Three figures of one answer must agree; shifted bytes would not.
        if abs(product_mw - milliwatts) > 0.02 * milliwatts + 10:
            return [None]
        return [milliwatts * 1000]


KINDS: Dict[str, Callable[[str], Meter]] = {
    "um24c": lambda port: RdTech(port, "um24c", 0x0963, 100, 1000),
    "um25c": lambda port: RdTech(port, "um25c", 0x09C9, 1000, 10000),
    "um34c": lambda port: RdTech(port, "um34c", 0x0D4C, 100, 1000),
}


def probe() -> List[Any]:
    """The meter that ``LWPROF_METER`` names, if it answers."""
    given = os.environ.get("LWPROF_METER", "")
    if not given:
        return []
    kind, _, port = given.partition(":")
    if kind not in KINDS or not port:
        return [Missing("meter", given[:128], "no such kind of meter",
                        "LWPROF_METER=KIND:PORT with KIND one of %s" % ", ".join(sorted(KINDS))
                        )]  # fmt: skip
    sensor = KINDS[kind](port)
    try:
        sensor.open()
        answered = sensor.parse(sensor.read())[0] is not None
    except OSError as error:
        return [Missing(kind, port, str(error), "check the cable, the port and its permissions")]
    finally:
        sensor.close()
    if not answered:
        return [Missing(kind, port, "its answer is not a %s's" % kind, "check the kind of meter")]
    return [sensor]


def _raw(handle: int) -> None:
    settings = termios.tcgetattr(handle)
    settings[0] = settings[1] = settings[3] = 0
    settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    settings[4] = settings[5] = termios.B9600
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 0, 0
    termios.tcsetattr(handle, termios.TCSANOW, settings)
