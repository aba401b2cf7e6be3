"""Frames: whole messages come out however the bytes are cut, and nothing else ever does."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwprof.agents.program.framing import MAX_FRAME, FrameDecoder, FrameError, decode, encode

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
MESSAGES = st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=5)


@settings(max_examples=50)
@given(MESSAGES, st.data())
def test_messages_survive_any_cut(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder, out = FrameDecoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += decoder.feed(stream[start:end])
    assert out == messages
    assert decoder.pending == 0


@settings(max_examples=25)
@given(MESSAGES)
def test_encoding_is_a_length_and_json(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        frame = encode(message)
        assert struct.unpack_from("<I", frame)[0] == len(frame) - 4
        assert json.loads(frame[4:]) == message


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_a_frame_error(noise: bytes) -> None:
    try:
        messages = FrameDecoder(limit=1000).feed(noise)
    except FrameError:
        return
    assert all(isinstance(message, dict) for message in messages)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_body_is_an_object_or_a_frame_error(body: bytes) -> None:
    try:
        message = decode(body)
    except FrameError:
        return
    assert isinstance(message, dict)


@given(st.dictionaries(TEXT, JSON, max_size=3), st.data())
def test_one_flipped_byte_is_never_a_crash(message: dict[str, Any], data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        FrameDecoder().feed(bytes(frame))
    except FrameError as error:
        assert str(error)


@pytest.mark.parametrize(
    "body",
    [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": 1e999}', b"[1]", b"1", b"",
     b'"x"', b"null", b"{", b'{"a": 1} x', b'{"a": "\xff"}', b"\x00", b"{'a': 1}",
     b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"],
)  # fmt: skip
def test_what_is_not_a_strict_object_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        decode(body)


def test_giant_length_is_refused_before_anything_is_stored() -> None:
    decoder = FrameDecoder()
    with pytest.raises(FrameError, match="limit"):
        decoder.feed(struct.pack("<I", MAX_FRAME + 1))
    with pytest.raises(FrameError, match="limit"):
        encode({"a": "x" * MAX_FRAME})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_say_is_not_sent(value: object) -> None:
    with pytest.raises(FrameError):
        encode({"a": value})
