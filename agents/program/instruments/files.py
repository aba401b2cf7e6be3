"""Sensors whose values lie in small files, each kept open and read by one ``pread``."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..system import place, read_text
from .sensor import Rail, Sensor, Values

_MOST = 64  # of one number; a large buffer for each reading costs time
_SEPARATOR = b"\x1e"


def whole_number(text: bytes) -> Optional[int]:
    """The whole number, perhaps negative, that one reading of a file holds."""
    stripped = text.strip()
    digits = stripped[1:] if stripped[:1] == b"-" else stripped
    if not digits.isdigit() or len(digits) > 18:
        return None
    return int(stripped)


class FileSensor(Sensor):
    """Reads the files of its rails in turn.

    Args:
        name: as in ``Sensor``.
        rails: as in ``Sensor``.
        period_s: as in ``Sensor``.
        paths: for each rail its files, absolute, without the prefix.
        joining: from a rail's numbers to its value in the rail's unit.
        labels: files that hold the rails' names, with what they held when found.
    """

    def __init__(
        self,
        name: str,
        rails: Sequence[Rail],
        period_s: float,
        paths: Sequence[Sequence[str]],
        joining: Callable[[Sequence[int]], Optional[int]],
        labels: Sequence[Tuple[str, str]] = (),
    ) -> None:
        Sensor.__init__(self, name, rails, period_s)
        self._paths = [list(group) for group in paths]
        self._joining = joining
        self._labels = list(labels)
        self._handles: List[int] = []

    def only(self, labels: Sequence[str]) -> None:
        Sensor.only(self, labels)
        kept = [pair for pair in zip(self.rails, self._paths) if pair[0].label in labels]
        self.rails = [rail for rail, _ in kept]
        self._paths = [paths for _, paths in kept]

    def open(self) -> None:
        self.close()
        try:
            for group in self._paths:
                for path in group:
                    self._handles.append(os.open(place(path), os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    def read(self) -> bytes:
        pieces = []
        pread = os.pread
        for handle in self._handles:
            try:
                pieces.append(pread(handle, _MOST, 0))
            except OSError as error:
                # One rail that fails (EIO of a disabled channel) does not silence the others.
                pieces.append(b"!%d" % (error.errno or 0))
        return _SEPARATOR.join(pieces)

    def parse(self, raw: bytes) -> Values:
        pieces = iter(raw.split(_SEPARATOR))
        values: Values = []
        for group in self._paths:
            numbers = [whole_number(next(pieces, b"")) for _ in group]
            known = [number for number in numbers if number is not None]
            values.append(self._joining(known) if len(known) == len(group) else None)
        return values

    def close(self) -> None:
        for handle in self._handles:
            os.close(handle)
        self._handles = []

    def check(self) -> Optional[str]:
        for path, label in self._labels:
            now = read_text(path)
            if now != label:
                return "%s says %r where it said %r" % (path, now, label)
        return None

    def locations(self) -> Dict[str, Any]:
        """Where the values lie, for people."""
        return {rail.label: group for rail, group in zip(self.rails, self._paths)}


def product_uw(numbers: Sequence[int]) -> Optional[int]:
    """Millivolts times milliamperes are microwatts."""
    return numbers[0] * numbers[1]


def scaled(factor: int) -> Callable[[Sequence[int]], Optional[int]]:
    """One number times ``factor``."""
    return lambda numbers: numbers[0] * factor
