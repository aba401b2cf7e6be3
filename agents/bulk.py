"""Many small files or models in one request: a round trip each would take longer than they do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from lwprof.agents.messages import ErrorReply, PreparedAll, PreparedReply
from lwprof.errors import DeviceError, DeviceTransient

_PACK_BYTES = 32 * 2**20


def packs(files: Mapping[str, bytes]) -> Iterator[tuple[bytes, list[dict[str, Any]]]]:
    """Files one after the other, in packs of bearable size.

    Args:
        files: SHA-256 to content.

    Yields:
        The content of a pack, and ``sha256`` and ``size_bytes`` of each part in order.
    """
    data: list[bytes] = []
    parts: list[dict[str, Any]] = []
    for sha256, content in files.items():
        data.append(content)
        parts.append({"sha256": sha256, "size_bytes": len(content)})
        if sum(map(len, data)) >= _PACK_BYTES:
            yield b"".join(data), parts
            data, parts = [], []
    if parts:
        yield b"".join(data), parts


def unpacked(
    reply: PreparedAll, pack: bytes, device: str
) -> Iterator[ErrorReply | tuple[PreparedReply, bytes | None]]:
    """Each model's result with its optimised graph, cut out of the pack of all.

    Raises:
        DeviceError: the pack does not hold what the reply says, or an item says nothing.
        DeviceTransient: it was damaged on its way.
    """
    place = 0
    for item in reply.items:
        if item.error is not None:
            yield item.error
            continue
        if item.ok is None:
            raise DeviceError(f"{device} sent a result without content; measure again")
        graph = None
        if item.ok.optimised is not None:
            size = item.ok.optimised.size_bytes
            graph = pack[place : place + size]
            place += size
            if hashlib.sha256(graph).hexdigest() != item.ok.optimised.sha256:
                raise DeviceTransient(f"{device}: a file was damaged on its way")
        yield item.ok, graph
    if place != len(pack):
        raise DeviceError(f"{device} sent more than it was asked for; measure again")
