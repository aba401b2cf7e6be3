"""ONNX Runtime's profile, read into one row of node durations for each run.

The profile is a list of events in the order in which they ended. A control-flow
operator runs its body in an executor of its own, so its body's nodes come first, then
that executor's ``SequentialExecutor::Execute``, then the operator itself, whose duration
already holds them. Such inner nodes are kept apart, or sums would count them twice.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple

from .failures import Failure

_SUFFIX = "_kernel_time"
_EXECUTOR = "SequentialExecutor::Execute"
_NS_PER_US = 1000

Key = Tuple[str, str]


# A node's event as ONNX Runtime writes it, its name free of anything that JSON escapes.
_NODE = re.compile(
    r'\{"cat"\s*:\s*"Node".*?"dur"\s*:\s*(\d+)\s*,\s*"ts"\s*:\s*(\d+)\s*,'
    r'[^{}]*?"name"\s*:\s*"([^"\\]*)_kernel_time"'
)
_INDEX = re.compile(r'"node_index"\s*:\s*"(\d+)"')


def read(path: str) -> Dict[str, Any]:
    """The profile in ``path``.

    Returns:
        ``nodes``: name, op, provider, index, inputs and shape (of its first output) of each
        node of the main graph, in execution order; ``durations_ns``: one list for each run; ``run_ns``: duration
        of each run; ``inner``: nodes of control-flow bodies with total durations and
        calls for each run; ``memory``: the arena's peaks in bytes, where told.

    Raises:
        Failure: kind ``profile``; the file is not a profile.
    """
    reader = _Reader()
    # Line by line, one event each: a board's memory is small.
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            reader.take_line(line)
    return reader.table()


class _Reader:
    """Groups events by run and by depth."""

    def __init__(self) -> None:
        self.runs: List[Tuple[int, Dict[Key, List[int]], Dict[Key, List[int]]]] = []
        self.about: Dict[Key, Dict[str, Any]] = {}
        self.peaks: Dict[str, int] = {}
        self._pending: List[Tuple[int, int, Key]] = []
        self._outer: List[Tuple[int, int, Key]] = []
        self._inner: List[Tuple[int, int, Key]] = []
        self._parse = json.JSONDecoder(strict=False).decode
        self._latest = ""

    def take_line(self, line: str) -> None:
        """One event, without parsing all of it where its node is known: that takes most
        of the time, and a profile has tens of thousands."""
        node = _NODE.match(line)
        index = _INDEX.search(line, node.end()) if node else None
        if node and index:
            key = (node[3], index[1])
            if key in self.about:
                self._pending.append((int(node[2]), int(node[1]), key))
                self._latest = line
                return
        self._take(line)

    def _take(self, line: str) -> None:
        line = line.strip().rstrip(",")
        if line in ("", "[", "]"):
            return
        try:
            event = self._parse(line)
            start, duration = int(event.get("ts", 0)), int(event.get("dur", 0))
        except (ValueError, TypeError, AttributeError):
            raise Failure(
                "profile", "ONNX Runtime's profile is damaged: time fewer iterations"
            ) from None
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
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
                "shape": _first_shape(args.get("output_type_shape")),
            }
        self._note_peaks(args)
        self._pending.append((start, duration, key))

    def _note_peaks(self, args: Dict[str, Any]) -> None:
        for name, told in (
            ("in_use_peak_bytes", "mem_in_use_peak"),
            ("arena_held_bytes", "mem_arena_held"),
        ):
            figure = _whole(args.get(told))
            if figure is not None:
                self.peaks[name] = max(figure, self.peaks.get(name, 0))

    def _finish(self, duration: int) -> None:
        # No executor event at all (another version of the runtime): all nodes are outer ones.
        outer = self._outer or self._pending
        self.runs.append((duration, _by_key(outer), _by_key(self._inner)))
        self._pending, self._outer, self._inner = [], [], []

    def table(self) -> Dict[str, Any]:
        """What ``read`` returns."""
        if self._latest:
            # Peaks only grow, so the last node that tells them tells them all.
            args = self._parse(self._latest.strip().rstrip(",")).get("args") or {}
            self._note_peaks(args)
        order = list(dict.fromkeys(key for run in self.runs for key in run[1]))
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


def _first_shape(told: Any) -> Any:
    """The first of ``[{"float": [1, 8, 7, 7]}, ...]``; None where it is not told."""
    try:
        shape = next(iter(told[0].values()))
        return [int(extent) for extent in shape]
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, StopIteration):
        return None
