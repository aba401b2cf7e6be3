"""ONNX Runtime's profile, read into one row of node durations for each run.

The profile is a list of events in the order in which they ended. A control-flow
operator runs its body in an executor of its own, so its body's nodes come first, then
that executor's ``SequentialExecutor::Execute``, then the operator itself, whose duration
already holds them. Such inner nodes are kept apart, or sums would count them twice.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from .failures import Failure

_SUFFIX = "_kernel_time"
_EXECUTOR = "SequentialExecutor::Execute"
_NS_PER_US = 1000

Key = Tuple[str, str]


def read(path: str) -> Dict[str, Any]:
    """The profile in ``path``.

    Returns:
        ``nodes``: name, op, provider, index and inputs of each node of the main graph,
        in execution order; ``durations_ns``: one list for each run; ``run_ns``: duration
        of each run; ``inner``: nodes of control-flow bodies with total durations and
        calls for each run; ``memory``: the arena's peaks in bytes, where told.

    Raises:
        Failure: kind ``profile``; the file is not a profile.
    """
    reader = _Reader()
    for event in _events(path):
        reader.take(event)
    return reader.table()


def _events(path: str) -> Iterator[Dict[str, Any]]:
    """Events one by one: ONNX Runtime writes one to a line, and a board's memory is small."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            line = line.strip().rstrip(",")
            if line in ("", "[", "]"):
                continue
            try:
                event = json.loads(line, strict=False)
            except ValueError:
                raise Failure(
                    "profile", "ONNX Runtime's profile is damaged: time fewer iterations"
                ) from None
            if isinstance(event, dict):
                yield event


class _Reader:
    """Groups events by run and by depth."""

    def __init__(self) -> None:
        self.runs: List[Tuple[int, Dict[Key, List[int]], Dict[Key, List[int]]]] = []
        self.about: Dict[Key, Dict[str, Any]] = {}
        self.peaks: Dict[str, int] = {}
        self._pending: List[Tuple[int, int, Key]] = []
        self._outer: List[Tuple[int, int, Key]] = []
        self._inner: List[Tuple[int, int, Key]] = []

    def take(self, event: Dict[str, Any]) -> None:
        name, category = str(event.get("name", "")), event.get("cat")
        start, duration = int(event.get("ts", 0)), int(event.get("dur", 0))
        if category == "Node" and name.endswith(_SUFFIX):
            self._node(name[: -len(_SUFFIX)], start, duration, event.get("args") or {})
        elif name == _EXECUTOR:
            # Everything pending that began inside this executor belongs to it. If it turns
            # out to be a body's, these nodes are inner ones.
            self._inner += self._outer
            self._outer = [entry for entry in self._pending if entry[0] >= start]
            self._pending = [entry for entry in self._pending if entry[0] < start]
        elif name == "model_run":
            self._finish(duration)

    def _node(self, name: str, start: int, duration: int, args: Dict[str, Any]) -> None:
        key = (name, str(args.get("node_index", "")))
        if key not in self.about:
            self.about[key] = {
                "name": name,
                "op": str(args.get("op_name", "")),
                "provider": str(args.get("provider", "")),
                "index": _whole(args.get("node_index")),
                "inputs": len(args.get("input_type_shape") or []),
            }
        self._peak("in_use_peak_bytes", args.get("mem_in_use_peak"))
        self._peak("arena_held_bytes", args.get("mem_arena_held"))
        self._pending.append((start, duration, key))

    def _peak(self, what: str, figure: Any) -> None:
        value = _whole(figure)
        if value is not None:
            self.peaks[what] = max(value, self.peaks.get(what, 0))

    def _finish(self, duration: int) -> None:
        # No executor event at all (another version of the runtime): all nodes are outer ones.
        outer = self._outer or self._pending
        self.runs.append((duration, _by_key(outer), _by_key(self._inner)))
        self._pending, self._outer, self._inner = [], [], []

    def table(self) -> Dict[str, Any]:
        order = list(self.runs[0][1]) if self.runs else []
        order += [key for run in self.runs for key in run[1] if key not in set(order)]
        order = list(dict.fromkeys(order))
        inner = list(dict.fromkeys(key for run in self.runs for key in run[2]))
        outer_keys = set(order)
        inner = [key for key in inner if key not in outer_keys]
        rows = []
        for _, outer, nested in self.runs:
            # A node that ends in the very microsecond in which a body begins cannot be told
            # from that body's nodes by time; its name can.
            rows.append(
                [sum(outer.get(key) or nested.get(key) or [0]) * _NS_PER_US for key in order]
            )
        return {
            "nodes": [self.about[key] for key in order],
            "durations_ns": rows,
            "run_ns": [run[0] * _NS_PER_US for run in self.runs],
            "inner": {
                "nodes": [self.about[key] for key in inner],
                "durations_ns": [
                    [sum(run[2].get(key, [])) * _NS_PER_US for key in inner] for run in self.runs
                ],
                "calls": [[len(run[2].get(key, [])) for key in inner] for run in self.runs],
            },
            "memory": self.peaks,
        }


def _by_key(entries: List[Tuple[int, int, Key]]) -> Dict[Key, List[int]]:
    durations: Dict[Key, List[int]] = {}
    for _, duration, key in sorted(entries, key=lambda entry: entry[0]):
        durations.setdefault(key, []).append(duration)
    return durations


def _whole(figure: Any) -> Any:
    try:
        return int(figure)
    except (TypeError, ValueError):
        return None
