"""Simulated energy of layers on a spatial accelerator, after Yang, Chen, Sze (CVPR 2017).

Costs are relative to one 16-bit multiply-accumulate: register file 1, array (network on chip) 2,
global buffer 6, DRAM 200. The dataflow is the simplest that can be stated in full: every weight,
input and output that is not nought crosses DRAM, buffer and array once per inference, and every
multiply-accumulate that is not skipped (its weight and input both differ from nought, taken as
independent) reads both operands and reads and writes its sum in the register file. Nothing here
is measured: every figure has source ``simulated``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer, DenseLayer, conv_layers, dense_layers
from lwprof.compression.rewriting import Rewriting
from lwprof.profiler.graph import materialise, read

MAC, REGISTER, ARRAY, BUFFER, DRAM = 1.0, 1.0, 2.0, 6.0, 200.0
MAC_ENERGY_J = 1e-12
"""Energy of one 16-bit multiply-accumulate assumed, of the order of 65 nm silicon."""
_REGISTER_ACCESSES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What one layer does in one inference of one sample.

    Attributes:
        layer: with its weights; ``density`` is their share that is not nought.
        input_density, output_density: the same of what it reads and of what its reader gets.
    """

    layer: ConvLayer | DenseLayer
    input_density: float
    output_density: float

    @property
    def density(self) -> float:
        """Share of weights that are not nought."""
        return float(np.count_nonzero(self.layer.weight) / max(self.layer.weight.size, 1))

    @property
    def per_weight(self) -> float:
        """Relative energy that one weight costs: moved once, used at every position."""
        uses = self.layer.macs / self.samples / max(self.layer.weight.size, 1)
        each = (MAC + _REGISTER_ACCESSES * REGISTER) * self.input_density
        return float(DRAM + BUFFER + ARRAY + uses * each)

    @property
    def samples(self) -> int:
        """Inferences that the shapes stand for: weights move anew for each."""
        return max(1, int(self.layer.in_shape[0]))

    @property
    def energy_j(self) -> float:
        """Joules, simulated."""
        moved = (np.prod(self.layer.in_shape) * self.input_density
                 + np.prod(self.layer.out_shape) * self.output_density)  # fmt: skip
        weights = np.count_nonzero(self.layer.weight) * self.per_weight
        return float(weights + moved / self.samples * (DRAM + BUFFER + ARRAY)) * MAC_ENERGY_J


def network_work(model: Any, feeds: Sequence[Any]) -> list[Work]:
    """The layers of a network with the densities that data show, in order.

    Raises:
        ModelError: the model cannot be read or run.
    """
    from lwprof.compression.running import Running

    graph = materialise(read(model))
    rewriting = Rewriting(graph)
    order = {node.name: i for i, node in enumerate(rewriting.nodes)}
    layers: list[Any] = [*conv_layers(rewriting), *dense_layers(rewriting)]
    layers.sort(key=lambda layer: order[layer.node.name])
    names = [layer.source for layer in layers]
    finals = [_passed_on(rewriting, layer.result) for layer in layers]
    running = Running(graph.proto, [*names, *finals])
    seen: dict[str, list[float]] = {}
    for feed in feeds:
        values = {**feed, **running(feed)}
        for name in {*names, *finals}:
            seen.setdefault(name, []).append(float((np.asarray(values[name]) != 0).mean()))
    return [Work(layer, float(np.mean(seen[name])), float(np.mean(seen[final])))
            for layer, name, final in zip(layers, names, finals, strict=True)]  # fmt: skip


def network_energy_j(model: Any, feeds: Sequence[Any]) -> float:
    """Simulated joules of one inference of a network's convolutions and dense layers."""
    return sum(work.energy_j for work in network_work(model, feeds))


def _passed_on(rewriting: Rewriting, name: str) -> str:
    """The value behind an activation, which is what is written: its noughts are compressed."""
    readers = rewriting.consumers(name)
    if len(readers) == 1 and readers[0].op_type in ("Relu", "Clip"):
        return str(readers[0].output[0])
    return name
