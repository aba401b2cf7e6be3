"""Frames: an unsigned 32-bit little-endian length, then that many bytes of JSON in UTF-8.

The decoder does no reading itself, so that both ends and the tests share it.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Dict, List

PROTOCOL = 1
MAX_FRAME = 64 * 1024 * 1024
_HEADER = struct.Struct("<I")
_MAX_DEPTH = 64


class FrameError(ValueError):
    """The peer sent bytes that are not a frame; the stream cannot be trusted any further."""


def encode(message: Dict[str, Any]) -> bytes:
    """One frame.

    Raises:
        FrameError: the message is larger than ``MAX_FRAME``, or holds NaN or infinity.
    """
    try:
        text = json.dumps(message, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise FrameError("message cannot be written as JSON: %s" % error) from None
    body = text.encode("ascii")
    if len(body) > MAX_FRAME:
        raise FrameError(
            "message of %d bytes exceeds the limit of %d bytes" % (len(body), MAX_FRAME)
        )
    return _HEADER.pack(len(body)) + body


class FrameDecoder:
    """Turns chunks of bytes, cut anywhere, into messages."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> List[Dict[str, Any]]:
        """Takes the next bytes and returns the messages that are now whole.

        Raises:
            FrameError: a length above the limit, bytes that are not JSON, or JSON
                that is not an object.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if length > self._limit:
                raise FrameError(
                    "frame of %d bytes exceeds the limit of %d bytes" % (length, self._limit)
                )
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(decode(bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages


def decode(body: bytes) -> Dict[str, Any]:
    """The message in a frame's body.

    Raises:
        FrameError: not an object in strict JSON (NaN and infinities are refused).
    """
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise FrameError("frame is not JSON: %s" % error) from None
    if not isinstance(message, dict):
        raise FrameError("frame holds %s where an object is due" % type(message).__name__)
    _check_depth(message)
    return message


def _no_constant(text: str) -> float:
    raise ValueError("the number %s is not allowed" % text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("the number %s is too large" % text[:32])
    return value


def _check_depth(message: Any) -> None:
    level = [message]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise FrameError("frame is nested more than %d deep" % _MAX_DEPTH)


def write_all(fd: int, data: bytes) -> None:
    """Writes all of ``data`` to a blocking descriptor.

    Raises:
        OSError: the peer is gone.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
