"""A network's channels as a channel table needs them: groups, who meets whom, and any widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.graph.dependencies import NONE, Channels, channels
from lwprof.compression.graph.surgery import remove_channels


@dataclass(frozen=True, slots=True)
class Resizable:
    """Implements ``lwprof.predictors.channel_table.ChannelStructure``.

    Attributes:
        channels: what can be removed.
        pairs: groups that meet in one stored tensor (a convolution's inputs and outputs).
    """

    channels: Channels
    pairs: tuple[tuple[int, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        return tuple(group.name for group in self.channels.groups)

    @property
    def widths(self) -> Any:
        """(groups,) channels of each."""
        return self.channels.widths

    def resize(self, widths: Any) -> Any:
        """The model with the first ``widths[g]`` channels of every group g."""
        kept = np.zeros(self.channels.units, dtype=bool)
        for group, width in zip(self.channels.groups, widths, strict=True):
            kept[list(group.units[: int(width)])] = True
        return remove_channels(self.channels, kept)


def resizable(model: Any) -> Resizable:
    """The channels of a model, ready to be priced at any widths.

    Raises:
        ModelError: the model cannot be read.
    """
    found = channels(model)
    group_of = np.empty(found.units, dtype=np.int64)
    for place, group in enumerate(found.groups):
        group_of[list(group.units)] = place
    axes: dict[str, list[set[int]]] = {}
    for (name, _), units in found.slots.items():
        real = np.asarray(units)[np.asarray(units) != NONE]
        axes.setdefault(name, []).append({int(g) for g in np.unique(group_of[real])})
    pairs = {
        (min(a, b), max(a, b))
        for groups in axes.values()
        for i, first in enumerate(groups)
        for second in groups[i + 1 :]
        for a in first
        for b in second
        if a != b
    }
    # Groups of one concatenation meet in nothing; those of one axis are added, not multiplied.
    return Resizable(found, tuple(sorted(pairs)))
