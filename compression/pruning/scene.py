"""What a saliency sees: a network, its channels, data, and the loss of any gating of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lwprof.compression.graph import Channels, channels
from lwprof.compression.graph.dependencies import NONE
from lwprof.compression.graph.surgery import GATES, gate_channels
from lwprof.compression.running import Running, random_feeds
from lwprof.errors import UsageError

Feed = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A layer that sums over channels: node name, its weights, and which axis is which."""

    node: str
    kind: str
    source: str
    result: str
    weight: str
    made: int
    read: int
    groups: int


@dataclass(slots=True)
class Scene:
    """A network before pruning.

    Attributes:
        found: its removable channels.
        feeds: calibration batches; seeded random ones where none were given.
        labels: class per sample of each feed; None lets the network's own answers stand for them.
        seed: of every random choice.
    """

    found: Channels
    feeds: Sequence[Feed]
    labels: Sequence[Any] | None = None
    seed: int = 0
    _gated: Any = field(default=None, repr=False)
    _reference: list[Any] = field(default_factory=list, repr=False)

    def layers(self) -> list[Weighted]:
        """Layers with stored weights whose sums run over all or some channels."""
        found = []
        for operator in self.found.graph.operators:
            if operator.type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                continue
            weight = operator.inputs[1]
            if (weight, 0) not in self.found.slots:
                continue
            transposed = operator.type == "Gemm" and operator.attributes.get("transB", 0)
            made, read = (0, 1) if operator.type == "Conv" or transposed else (1, 0)
            found.append(Weighted(operator.name, operator.type, operator.inputs[0],
                                  operator.outputs[0], weight, made, read,
                                  int(operator.attributes.get("group", 1))))  # fmt: skip
        return found

    def losses(self, gates: Any) -> Any:
        """Loss of every sample, with channels scaled by ``gates`` (units,).

        Cross-entropy where the first output is one row of scores per sample and labels are
        known or the scores are the network's own; else half the squared relative error.
        """
        full = np.append(np.asarray(gates, np.float32), np.float32(1))
        found = []
        for number, answers in enumerate(self._answers(full)):
            reference = self._originals()[number]
            if self.labels is None:
                scale = max(float(np.square(reference).mean()), 1e-12)
                error = np.square(answers - reference).reshape(len(answers), -1).mean(1)
                found.append(error / (2 * scale))
            else:
                found.append(_cross_entropy(answers, np.asarray(self.labels[number])))
        return np.concatenate(found)

    def error(self, kept: Any) -> float:
        """Mean loss of the network with only the kept channels."""
        return float(self.losses(np.asarray(kept, dtype=np.float32)).mean())

    def observe(self, names: Sequence[str]) -> dict[str, Any]:
        """Values of the original network, all feeds together along the first axis."""
        running = Running(self.found.graph.proto, list(names))
        rows = [running(feed) for feed in self.feeds]
        return {name: np.concatenate([row[name] for row in rows]) for name in names}

    def _originals(self) -> list[Any]:
        if not self._reference:
            self._reference = self._answers(np.ones(self.found.units + 1, np.float32))
        return self._reference

    def _answers(self, gates: Any) -> list[Any]:
        if self._gated is None:
            self._gated = Running(gate_channels(self.found))
        return [next(iter(self._gated({**feed, GATES: gates}).values())) for feed in self.feeds]


def scene(
    model: Any, feeds: Sequence[Feed] = (), labels: Sequence[Any] | None = None, seed: int = 0
) -> Scene:
    """A scene of a model.

    Raises:
        ModelError: the model cannot be read.
        UsageError: nothing in it can be pruned, or labels do not go with feeds.
    """
    found = channels(model)
    if not found.units:
        reasons = "; ".join(sorted(set(found.refused.values()))[:3])
        raise UsageError(f"{found.graph.name}: no channel can be removed ({reasons})")
    if labels is not None and len(labels) != len(feeds):
        raise UsageError(f"{len(feeds)} calibration batches have labels for {len(labels)}")
    return Scene(found, list(feeds) or random_feeds(found.graph, 2, seed), labels, seed)


def by_unit(units: Any, scores: Any, count: int) -> Any:
    """Sums scores at every index of an axis into units: (n,), (n,) → (count,)."""
    real = units != NONE
    return np.bincount(units[real], weights=np.asarray(scores, float)[real], minlength=count)


def _cross_entropy(scores: Any, classes: Any) -> Any:
    rows = scores.reshape(len(scores), -1).astype(np.float64)
    rows = rows - rows.max(1, keepdims=True)
    return np.log(np.exp(rows).sum(1)) - rows[np.arange(len(rows)), classes]
