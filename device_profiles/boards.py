"""The boards we know: one TOML file each, ours and, field by field over them, the user's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from lwprof.device_profiles.config import config_folder, read_toml
from lwprof.device_profiles.profile import Profile
from lwprof.errors import DeviceUnknown, UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")


def user_folder() -> Path:
    """Where the user's own boards, and changes to ours, are kept."""
    return config_folder() / "boards"


def boards() -> list[str]:
    """Names of all boards, ours and the user's, sorted."""
    names = {Path(item.name).stem for item in _ours().iterdir() if item.name.endswith(".toml")}
    folder = user_folder()
    if folder.is_dir():
        names |= {path.stem for path in folder.glob("*.toml") if _NAME.fullmatch(path.stem)}
    return sorted(names)


def load_profile(board: str) -> Profile:
    """The profile of a board; what the user's file says wins over ours, field by field.

    Tables are joined field by field, lists (clusters, rails, peaks) are replaced as a whole.

    Raises:
        DeviceUnknown: no such board.
        UsageError: a file that is not TOML or breaks the schema, with the field.
    """
    files = []
    data: dict[str, Any] = {}
    if _NAME.fullmatch(board):
        shipped = _ours() / f"{board}.toml"
        if shipped.is_file():
            path = Path(str(shipped))
            files.append(path)
            data = read_toml(path, shipped.read_text(encoding="utf-8"))
        own = user_folder() / f"{board}.toml"
        if own.is_file():
            files.append(own)
            data = _over(data, read_toml(own))
    if not files:
        raise DeviceUnknown(
            f"no board is called {board!r}: one of {', '.join(boards())}, or describe it in "
            f"{user_folder() / 'NAME.toml'}"
        )
    return parse_profile({"name": board, **data}, files[-1], board)


def identify(compatible: Iterable[str] = (), codename: str | None = None) -> str | None:
    """The board that a device's own identification names; None for an unknown one.

    Args:
        compatible: texts of the device tree's ``compatible``, the most special first.
        codename: Android's ``ro.product.device``.
    """
    known = [load_profile(name) for name in boards()]
    for text in compatible:
        for profile in known:
            if text in profile.compatible:
                return profile.name
    if codename is not None:
        return next((p.name for p in known if codename in p.codenames), None)
    return None


def parse_profile(data: Mapping[str, Any], path: Path, board: str) -> Profile:
    """The profile that a file's content describes.

    Args:
        data: as TOML gave it.
        path: names the file in errors.
        board: the name that the profile must have.

    Raises:
        UsageError: an unknown, missing or wrong field.
    """
    try:
        profile = msgspec.convert(data, Profile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}; correct that field") from None
    if profile.name != board:
        raise UsageError(f"{path}: name is {profile.name!r}; make it {board!r} like the file")
    problem = _problem(profile)
    if problem is not None:
        raise UsageError(f"{path}: {problem}; correct that field")
    return profile


def _problem(profile: Profile) -> str | None:
    if not profile.reach.how and profile.memory is None:
        return "reach.how is empty: local, ssh or adb (or give memory, for a microcontroller)"
    memory = profile.memory
    if memory is not None:
        sizes = (memory.sram_bytes, memory.flash_bytes, memory.largest_bytes or 1)
        if min(sizes) < 1 or (memory.largest_bytes or 0) > memory.sram_bytes:
            return "memory: sizes must be positive, and largest_bytes a part of sram_bytes"
    problem = _rail_problem(profile)
    if problem is not None:
        return problem
    for cluster in profile.clusters:
        if cluster.count < 1:
            return f"clusters: {cluster.name!r} has no cores"
        if cluster.cpus and len(cluster.cpus) != cluster.count:
            return (
                f"clusters: {cluster.name!r} numbers {len(cluster.cpus)} of {cluster.count} cores"
            )
        if cluster.max_freq_hz is not None and not 1e6 <= cluster.max_freq_hz < 1e11:
            return f"clusters: max_freq_hz of {cluster.name!r} is not in hertz"
        if cluster.min_freq_hz is not None and not (
            1e6 <= cluster.min_freq_hz <= (cluster.max_freq_hz or 1e11)
        ):
            return f"clusters: min_freq_hz of {cluster.name!r} is not in hertz below max_freq_hz"
    if profile.memory_bytes is not None and profile.memory_bytes < 1:
        return "memory_bytes is not positive"
    for peak in profile.peaks:
        if not 0 < peak.value < float("inf") or not peak.source.strip():
            return f"peaks: {peak.quantity} needs a positive value and a source"
    limits = profile.limits
    for name in ("temp_c", "power_w", "input_voltage_v"):
        value = getattr(limits, name)
        if value is not None and not 0 < value < 1e6:
            return f"limits.{name} is not positive"
    return None


def _rail_problem(profile: Profile) -> str | None:
    seen = set()
    for rail in profile.rails:
        if not rail.label.strip() or not rail.includes:
            return "rails: a rail needs a label and what it includes"
        if (rail.sensor, rail.label) in seen:
            return f"rails: {rail.label!r} of {rail.sensor!r} stands there twice"
        seen.add((rail.sensor, rail.label))
    totals = [rail.label for rail in profile.rails if rail.role == "total"]
    if len(totals) > 1:
        return f"rails: only one can be the total, not {' and '.join(totals)}"
    if totals and any(rail.role == "separate" for rail in profile.rails):
        return f"rails: beside the total {totals[0]!r} the others are parts, not separate"
    return None


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(under)
    for name, value in over.items():
        below = joined.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            joined[name] = _over(below, value)
        else:
            joined[name] = value
    return joined


def _ours() -> Any:
    return resources.files("lwprof.device_profiles")
