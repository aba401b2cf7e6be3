"""How records become text and bytes, and back from a store that nobody has to trust."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from lwprof.errors import StoreError

# A crafted payload of a few bytes may unpack to gigabytes; real blocks stay far below this.
MAX_PAYLOAD_BYTES = 256 * 2**20


def canonical_json(data: Any) -> str:
    """One text for equal data: sorted keys, no spaces, NumPy scalars and arrays as plain numbers.

    Raises:
        StoreError: a number is NaN or infinite, or a value is no JSON.
    """
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False,
                          allow_nan=False, default=_plain)  # fmt: skip
        text.encode()  # a lone surrogate (an undecodable file name) must not get in
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"cannot be stored: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def digest(data: Any) -> str:
    """SHA-256 in hexadecimal of the canonical JSON."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def pack(payload: Mapping[str, Any]) -> bytes:
    """The payload as zlib-compressed canonical JSON.

    Raises:
        StoreError: not JSON, or larger than ``MAX_PAYLOAD_BYTES``.
    """
    raw = canonical_json(payload).encode()
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise StoreError(
            f"a block of {len(raw)} bytes is larger than a store takes ({MAX_PAYLOAD_BYTES})"
        )
    # Level 1: raw samples compress by four or five either way, and a commit must stay quick.
    return zlib.compress(raw, 1)


def unpack(data: Any, what: str) -> dict[str, Any]:
    """The payload that ``pack`` packed.

    Args:
        data: what the database returned.
        what: names the record in errors, e.g. ``block 'abc'``.

    Raises:
        StoreError: not bytes, not compressed, too large, not JSON, or not an object.
    """
    if not isinstance(data, bytes | memoryview):
        raise StoreError(f"{what} is damaged: its payload is not binary")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(bytes(data), MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise StoreError(f"{what} is damaged: {error}") from None
    if stream.unconsumed_tail:
        raise StoreError(f"{what} is refused: it unpacks to more than {MAX_PAYLOAD_BYTES} bytes")
    if not stream.eof:
        raise StoreError(f"{what} is damaged: its payload is cut short")
    return parse_object(raw, what)


def parse_object(text: Any, what: str) -> dict[str, Any]:
    """A JSON object out of ``text``.

    Raises:
        StoreError: not text, not JSON, or not an object.
    """
    data = parse_json(text, what)
    if not isinstance(data, dict):
        raise StoreError(f"{what} is damaged: its JSON is not an object")
    return data


def parse_texts(text: Any, what: str) -> tuple[str, ...]:
    """A JSON array of strings out of ``text``.

    Raises:
        StoreError: not text, not JSON, or not an array of strings.
    """
    data = parse_json(text, what)
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise StoreError(f"{what} is damaged: its JSON is no list of texts")
    return tuple(data)


def parse_json(text: Any, what: str) -> Any:
    """Any JSON value out of ``text``; StoreError when it is not text or not JSON."""
    if not isinstance(text, str | bytes):
        raise StoreError(f"{what} is damaged: its JSON is not text")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{what} is damaged: {error}") from None


def expect_text(value: Any, what: str, *, empty: bool = False) -> str:
    """``value`` if it is text (and, unless ``empty``, not ""), else StoreError naming ``what``."""
    if not isinstance(value, str) or not (value or empty):
        raise StoreError(f"{what} is damaged: expected text, found {type(value).__name__}")
    return value


def expect_number(value: Any, what: str) -> float | None:
    """``value`` as a finite float, or None, else StoreError naming ``what``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StoreError(f"{what} is damaged: expected a finite number")
    return float(value)


def expect_count(value: Any, what: str) -> int | None:
    """``value`` as a whole number of at least 0, or None, else StoreError naming ``what``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StoreError(f"{what} is damaged: expected a count")
    return value
