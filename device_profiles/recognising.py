"""Which board a device is, and a profile for one that nobody has described yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lwprof.device_profiles.boards import boards, load_profile, parse_profile, user_folder
from lwprof.device_profiles.config import locked, read_toml, write_atomically
from lwprof.errors import UsageError

_SAFE = re.compile(r"[^\w .,()+/-]")


class ClusterFound(Protocol):
    """Cores of one kind, as a device describes them."""

    @property
    def cpus(self) -> Sequence[int]: ...

    @property
    def max_freq_hz(self) -> float | None: ...


def recognise(compatible: Sequence[str]) -> str | None:
    """The board whose device tree says so; None when no profile knows it.

    Args:
        compatible: the device tree's ``compatible``, the most specific text first.
    """
    known: dict[str, str] = {}
    for board in boards():
        for text in load_profile(board).compatible:
            known.setdefault(text, board)
    return next((known[text] for text in compatible if text in known), None)


def write_profile(
    board: str,
    title: str,
    environment: str,
    clusters: Sequence[ClusterFound],
    memory_bytes: int | None,
) -> Path:
    """Writes a profile of what was found on a device, among the user's boards.

    Raises:
        UsageError: there is such a board already, or its name is impossible.
        HostError: it cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", board):
        raise UsageError(f"{board!r} cannot be a board's name: small letters, digits and _")
    folder = user_folder()
    path = folder / f"{board}.toml"
    lines = [
        "# Found on the device itself; change what you know better.",
        f'title = "{_SAFE.sub("?", title)[:100]}"',
        f'environment = "{environment}"',
    ]
    if memory_bytes:
        lines.append(f"memory_bytes = {int(memory_bytes)}")
    lines += ["", "[reach]", 'how = ["ssh"]']
    for number, cluster in enumerate(clusters):
        lines += ["", "[[clusters]]", f'name = "cluster{number}"', f"count = {len(cluster.cpus)}",
                  f"cpus = [{', '.join(str(int(cpu)) for cpu in cluster.cpus)}]"]  # fmt: skip
        if cluster.max_freq_hz and 1e6 <= cluster.max_freq_hz < 1e11:
            lines.append(f"max_freq_hz = {float(cluster.max_freq_hz):.0f}.0")
    text = "\n".join(lines) + "\n"
    data: dict[str, Any] = {"name": board, **read_toml(path, text)}
    parse_profile(data, path, board)  # never write what could not be read back
    with locked(folder):
        if board in boards():
            raise UsageError(f"there is a board {board!r} already: choose another with --board")
        write_atomically(path, text)
    return path
