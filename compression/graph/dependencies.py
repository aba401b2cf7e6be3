"""Which channels of a network can be removed, and what goes with each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwprof.compression.graph.labels import FIXED
from lwprof.compression.graph.rules import RULES
from lwprof.compression.graph.walk import Walk
from lwprof.errors import UsageError
from lwprof.profiler.graph import Graph, materialise, read

NONE = -1
"""In place of a unit: an index that stays whatever is removed."""


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that are alike: each can be removed, and any of them changes the same shapes.

    Attributes:
        name: the first node that makes them, with a number where it makes several groups.
        units: numbers of its channels among all units of the network, ascending.
        nodes: every node that makes some of them.
    """

    name: str
    units: tuple[int, ...]
    nodes: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many channels there are."""
        return len(self.units)


@dataclass(frozen=True, slots=True)
class Channels:
    """The removable channels of a network.

    A *unit* is a set of slices that can only be removed together (a channel of every layer that
    a residual sum joins, the same position in every group of a grouped convolution …).

    Attributes:
        graph: the model, its weights written out.
        groups: of units; every unit is in one of them. A group keeps at least one unit.
        slots: axes of stored tensors: (tensor, axis) → unit at every index, or ``NONE``.
        values: activations: name → units, broadcasting to its shape.
        depthwise: convolutions with one group per channel → the value that they read.
        resized: (node, place) whose extents follow the channels → the value, ``split`` or
            ``slice``.
        refused: node → why the channels that meet there are left alone.
    """

    graph: Graph
    groups: tuple[ChannelGroup, ...]
    slots: Mapping[tuple[str, int], Any] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    depthwise: Mapping[str, str] = field(repr=False)
    resized: Mapping[tuple[str, int], str] = field(repr=False)
    refused: Mapping[str, str] = field(repr=False)

    @property
    def units(self) -> int:
        """Units of all groups together."""
        return sum(group.size for group in self.groups)

    @property
    def widths(self) -> Any:
        """Units per group, shape (groups,)."""
        return np.array([group.size for group in self.groups], dtype=np.int64)

    def counts(self, kept: Any) -> Any:
        """Kept units per group: (units,) of bool → (groups,)."""
        return np.array([int(kept[list(g.units)].sum()) for g in self.groups], dtype=np.int64)

    def check(self, kept: Any) -> Any:
        """``kept`` as an array of bool, shape (units,).

        Raises:
            UsageError: another shape, or a group loses all its units.
        """
        mask = np.asarray(kept, dtype=bool)
        if mask.shape != (self.units,):
            raise UsageError(f"{self.graph.name} has {self.units} removable channels: give a mask "
                             f"of that length, not of shape {mask.shape}")  # fmt: skip
        for group, count in zip(self.groups, self.counts(mask), strict=True):
            if not count:
                raise UsageError(f"{group.name} would lose all {group.size} channels: keep one")
        return mask

    def survivors(self, units: Any, kept: Any) -> Any:
        """Which indices stay, for units at every index of an axis."""
        return np.where(units == NONE, True, kept[units] if len(kept) else True)


def channels(model: Any) -> Channels:
    """Finds what can be removed from a model and what depends on it.

    Args:
        model: a ``Graph``, or anything that ``lwprof.profiler.graph.read`` accepts.

    Raises:
        ModelError: the model cannot be read.
    """
    graph = materialise(model if isinstance(model, Graph) else read(model))
    walk = Walk(graph)
    for node in graph.proto.graph.node:
        _step(walk, node)
    for tensor in graph.outputs:
        if tensor.name in walk.values:
            walk.labels.fix(walk.values[tensor.name], "it is an output of the network")
    return _collect(walk)


def _step(walk: Walk, node: Any) -> None:
    if node.op_type == "Constant":
        return
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            for value in walk.values.values():
                walk.labels.fix(value, f"{node.name} ({node.op_type}) has a body")
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    lost = [name for name in node.input[:1] if name in walk.values
            and walk.values[name].ndim != len(walk.shape(name) or ())]  # fmt: skip
    if rule is None or lost:
        walk.refuse(node, f"nothing is known of {node.op_type}")
        return
    rule(walk, node)


def _collect(walk: Walk) -> Channels:
    slots = {key: walk.labels.roots(labels) for key, labels in walk.slots.items()}
    values = {name: walk.labels.roots(labels) for name, labels in walk.values.items()}
    signature: dict[int, list[tuple[int, int]]] = {}
    for place, labels in enumerate([*slots.values(), *values.values()]):
        found, counts = np.unique(labels, return_counts=True)
        for label, count in zip(found.tolist(), counts.tolist(), strict=True):
            if label != FIXED:
                signature.setdefault(label, []).append((place, count))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for label in sorted(signature):
        alike.setdefault(tuple(signature[label]), []).append(label)
    makers: dict[int, list[str]] = {}
    for node, labels in walk.makers.items():
        for label in np.unique(walk.labels.roots(labels)).tolist():
            makers.setdefault(label, []).append(node)
    kept = [members for members in alike.values() if len(members) > 1]
    number: Any = np.full(1 + max(signature, default=0), NONE)
    groups, used, start = [], dict[str, int](), 0
    for members in kept:
        number[members] = np.arange(start, start + len(members))
        nodes = tuple(makers.get(members[0], ("input",)))
        used[nodes[0]] = used.get(nodes[0], 0) + 1
        name = nodes[0] if used[nodes[0]] == 1 else f"{nodes[0]}#{used[nodes[0]]}"
        groups.append(ChannelGroup(name, tuple(range(start, start + len(members))), nodes))
        start += len(members)
    refused = dict(walk.refused)
    for node, made in walk.makers.items():
        reason = next(
            (walk.labels.reason(int(x)) for x in labels if walk.labels.reason(int(x))), ""
        )
        if (number[walk.labels.roots(made)] == NONE).all() and node not in refused:
            refused[node] = reason or "its channels cannot be told apart"
    return Channels(
        walk.graph, tuple(groups), {k: number[v] for k, v in slots.items()},
        {k: number[v] for k, v in values.items()}, walk.depthwise, walk.resized, refused,
    )  # fmt: skip


def random_kept(found: Channels, share: float, seed: int = 0) -> Any:
    """A random mask that keeps about ``share`` of the units, at least one in each group."""
    random = np.random.default_rng(seed)
    kept = random.random(found.units) < share
    for group in found.groups:
        if not kept[list(group.units)].any():
            kept[random.choice(group.units)] = True
    return kept


def kept_of(found: Channels, keeps: Sequence[Any]) -> Any:
    """Masks per group, put together to one over all units."""
    kept = np.ones(found.units, dtype=bool)
    for group, mask in zip(found.groups, keeps, strict=True):
        kept[list(group.units)] = mask
    return kept
