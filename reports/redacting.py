"""Leaves hosts, addresses, serials and user names out of a result that will be shared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAMES = frozenset({
    "hostname", "host", "address", "serial", "serial_number", "hardware_id", "boot_id", "ssh",
    "mac_address", "user", "username", "port", "model_path", "path", "key_path",
})  # fmt: skip
_ADDRESS = re.compile(
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"
    r"|\b(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}\b|(?<=::)[0-9a-fA-F]{1,4}\b"
    r"|\b[\w.-]+@[\w.-]+\b|(?:/home|/Users|/root)/[^\s,;:'\"]*"
)
_LEAST = 4  # shorter host names are words of other texts too
GONE = "(left out)"


def redacted(data: Any) -> Any:
    """A copy of a result's JSON without what names a machine or its owner.

    Fields with such names are replaced, what stood in them wherever it stands in other texts, and
    so are network addresses and paths in home folders.
    """
    secrets = sorted({s for s in _secrets(data) if len(s) >= _LEAST}, key=len, reverse=True)
    return _without(data, secrets)


def _secrets(data: Any) -> list[str]:
    found: list[str] = []
    if isinstance(data, Mapping):
        for name, value in data.items():
            if name in _NAMES and isinstance(value, str):
                found.append(value)
            else:
                found += _secrets(value)
    elif isinstance(data, list | tuple):
        for value in data:
            found += _secrets(value)
    return [text for text in found if text != "host"]


def _without(data: Any, secrets: list[str]) -> Any:
    if isinstance(data, Mapping):
        return {
            _text(str(name), secrets): GONE
            if name in _NAMES and isinstance(value, str | int) else _without(value, secrets)
            for name, value in data.items()
        }  # fmt: skip
    if isinstance(data, list | tuple):
        return [_without(value, secrets) for value in data]
    return _text(data, secrets) if isinstance(data, str) else data


def _text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, GONE)
    return _ADDRESS.sub(GONE, text)
