"""Simulated energy of a network on a spatial accelerator, after Yang, Chen, Sze (CVPR 2017).

Computing and moving data are priced relative to one 16-bit multiply-accumulate: register file 1,
array (network on chip) 2, global buffer 6, DRAM 200. Whoever knows the dataflow says how often
each level is accessed (``Accesses``, ``layer_energy``); ``AcceleratorCostModel`` assumes a plain
one (``Accelerator``) for whole graphs. Nothing here is measured, and every answer says
``simulated``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.space import Floats
from lwprof.profiler.graph import Graph, read
from lwprof.profiler.graph.model import Operator
from lwprof.profiler.statistics import Estimate

MAC, REGISTER, ARRAY, BUFFER, DRAM = 1.0, 1.0, 2.0, 6.0, 200.0
"""Energy of one MAC, or of one access to each memory level, in 16-bit MACs."""
REFERENCE_BITS = 16
MAC_ENERGY_J = 1e-12
"""Default of one 16-bit MAC: the order of magnitude of a 45 to 65 nm process. Relative figures do
not depend on it."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """How many values of one kind (weights, inputs or outputs) a layer moves at each level.

    Attributes:
        register, array, buffer, dram: accesses of dense data.
        bits: width of a value; data energy is linear in it.
        density: the share of values that are not nought; zeros are compressed away.

    Raises:
        UsageError: a count is negative or not finite, a density above 1, less than 1 bit.
    """

    register: float = 0
    array: float = 0
    buffer: float = 0
    dram: float = 0
    bits: int = REFERENCE_BITS
    density: float = 1.0

    def __post_init__(self) -> None:
        counts = [getattr(self, entry.name) for entry in fields(self)]
        if not all(math.isfinite(c) and c >= 0 for c in counts) or self.density > 1:
            raise UsageError(f"accesses must be finite and not negative, density at most 1: {self}")
        if self.bits < 1:
            raise UsageError(f"a value has at least 1 bit, not {self.bits}")

    @property
    def relative_energy(self) -> float:
        """In 16-bit MACs."""
        per_level = (self.register * REGISTER + self.array * ARRAY
                     + self.buffer * BUFFER + self.dram * DRAM)  # fmt: skip
        return per_level * self.density * self.bits / REFERENCE_BITS


def layer_energy(macs: float, weights: Accesses, inputs: Accesses, outputs: Accesses,
                 mac_energy_j: float = MAC_ENERGY_J) -> Estimate:  # fmt: skip
    """Joules of one layer, source ``simulated``; the interval says nothing and is the value.

    A MAC is skipped when its weight or its input is nought (taken as independent), and costs in
    proportion to both widths.

    Args:
        macs: multiply-accumulates of the dense layer.
        mac_energy_j: of one 16-bit multiply-accumulate, in joules.

    Raises:
        UsageError: a count or the unit energy is negative or not finite.
    """
    if not all(math.isfinite(v) and v >= 0 for v in (macs, mac_energy_j)):
        raise UsageError(f"macs and mac_energy_j must be finite and not negative: "
                         f"{macs}, {mac_energy_j}")  # fmt: skip
    widths = weights.bits * inputs.bits / REFERENCE_BITS**2
    computing = macs * weights.density * inputs.density * widths * MAC
    moving = sum(kind.relative_energy for kind in (weights, inputs, outputs))
    value = (computing + moving) * mac_energy_j
    return Estimate(value, value, value, source="simulated")


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A machine and the dataflow assumed on it.

    Every MAC reads a weight, an input and a partial sum from the register file and writes the sum
    back. Within the array a value is passed on ``reuse`` times per fetch from the buffer, as long
    as there is so much reuse in the layer. Inputs and outputs pass through DRAM once; weights
    once for each part into which the inputs must be cut to fit half of the buffer.

    Attributes:
        weight_bits, value_bits: widths of weights and of activations.
        buffer_bytes: of the global buffer.
        reuse: MACs that one fetch from the buffer serves (the array's width).
        mac_energy_j: of one 16-bit MAC.
        densities: share of non-zero weights by operator name; others count what the file holds
            as dense.

    Raises:
        UsageError: a size is not positive, or a density lies outside 0 to 1.
    """

    weight_bits: int = 16
    value_bits: int = 16
    buffer_bytes: int = 108 * 1024
    reuse: float = 12.0
    mac_energy_j: float = MAC_ENERGY_J
    densities: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = (self.weight_bits, self.value_bits, self.buffer_bytes, self.reuse,
                 self.mac_energy_j)  # fmt: skip
        if not all(math.isfinite(size) and size > 0 for size in sizes):
            raise UsageError(f"an accelerator's sizes are positive and finite: {self}")
        if not all(0 <= d <= 1 for d in self.densities.values()):
            raise UsageError("a density lies between 0 and 1")

    def energy(self, macs: float, weights: float, inputs: float, outputs: float,
               density: float = 1.0) -> Estimate:  # fmt: skip
        """Joules of a layer with so many weights, inputs and outputs (counts of values)."""
        cuts = max(1, math.ceil(inputs * self.value_bits / 8 / (self.buffer_bytes / 2)))
        # A value cannot be fetched less often than once, nor more often than it is used.
        fetched = {name: max(count, macs / self.reuse) if macs else count
                   for name, count in (("w", weights), ("i", inputs), ("o", outputs))}  # fmt: skip
        if not weights:
            fetched["w"] = 0.0
        return layer_energy(
            macs,
            Accesses(macs if weights else 0, fetched["w"], fetched["w"], weights * cuts,
                     self.weight_bits, density),
            Accesses(macs or inputs, fetched["i"], fetched["i"], inputs, self.value_bits),
            Accesses(2 * macs or outputs, fetched["o"], fetched["o"], outputs, self.value_bits),
            self.mac_energy_j,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedCosts:
    """Costs of several models: ``mean``, ``low``, ``high`` and ``source``, (models, 1)."""

    mean: Floats
    low: Floats
    high: Floats
    source: Any
    quantities: tuple[str, ...] = ("energy_j",)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One operator's simulated energy."""

    node: str
    operator: str
    energy_j: Estimate


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One network's simulated energy by operator, in the order of the graph."""

    kernels: tuple[LayerCost, ...]


class AcceleratorCostModel:
    """Energy of any graph on an accelerator that nobody built; source ``simulated``.

    Args:
        machine: sizes, widths and dataflow.
    """

    quantities = ("energy_j",)

    def __init__(self, machine: Accelerator | None = None) -> None:
        self.machine = machine or Accelerator()

    def predict(self, models: Any) -> SimulatedCosts:
        """Energies of models.

        Raises:
            CostMiss: the MACs or shapes of an operator are unknown.
            ModelError: a model cannot be read.
        """
        single = isinstance(models, str | bytes) or not isinstance(models, Sequence)
        values = [sum(layer.energy_j.value for layer in self.explain(model).kernels)
                  for model in ([models] if single else models)]  # fmt: skip
        mean = np.array(values, dtype=np.float64)[:, None]
        return SimulatedCosts(mean, mean.copy(), mean.copy(), np.full(mean.shape, "simulated"))

    def explain(self, model: Any) -> SimulatedModel:
        """By operator; they sum to what ``predict`` says."""
        graph = model if isinstance(model, Graph) else read(model)
        costs = tuple(
            LayerCost(o.name, o.type, self._energy(graph, o))
            for o in graph.operators
            if any(not graph.tensors[name].constant for name in o.inputs if name in graph.tensors)
        )
        return SimulatedModel(costs)

    def quantile(self, models: Any, level: float) -> Floats:
        """The energies: a simulation has no spread.

        Raises:
            UsageError: the level does not lie between 0.5 and 1.
        """
        if not 0.5 <= level < 1:
            raise UsageError(f"a quantile's level lies between 0.5 and 1, not {level}")
        return self.predict(models).mean

    def _energy(self, graph: Graph, operator: Operator) -> Estimate:
        counts = {True: 0, False: 0}
        for name in {n for n in operator.inputs if n}:
            counts[graph.tensors[name].constant] += _elements(graph, name, operator)
        made = sum(_elements(graph, name, operator) for name in operator.outputs if name)
        if operator.macs is None:
            raise _miss(graph, operator)
        density = self.machine.densities.get(operator.name, 1.0)
        return self.machine.energy(operator.macs, counts[True], counts[False], made, density)


def _elements(graph: Graph, name: str, operator: Operator) -> int:
    tensor = graph.tensors.get(name)
    if tensor is None or tensor.elements is None:
        raise _miss(graph, operator)
    return tensor.elements


def _miss(graph: Graph, operator: Operator) -> CostMiss:
    return CostMiss(
        f"{graph.name}: the work of {operator.name} ({operator.type}) is unknown, so its energy "
        "cannot be simulated: give the model's inputs fixed shapes",
        (operator.name,),
    )
