"""Synthetic chains: graphs whose cost is nothing but the runtime's own overhead.

Their plain run time against their length gives the call's fixed cost and the gap
between kernels; what the profiler reports for the same kernels, less that slope, is
what the profiler adds to each node. No measured network enters these figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwprof.profiler.statistics import central_mean

SHORT, LONG, WIDE = "chain8", "chain64", "wide64"
_LENGTHS = {SHORT: 8, LONG: 64, WIDE: 64}
SPAN = _LENGTHS[LONG] - _LENGTHS[SHORT]
"""Kernels by which a long chain exceeds a short one."""
_SHAPE = (1, 8, 4, 4)
_WIDE_INPUTS = 3


@cache
def chain_model(name: str) -> bytes:
    """The serialised chain ``name``: Sigmoids in a row, or three-input Sums in a row."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants, value = [], [], "x"
    for index in range(_LENGTHS[name]):
        if name == WIDE:
            terms = [f"c{index}_{i}" for i in range(_WIDE_INPUTS - 1)]
            for term in terms:
                data = rng.uniform(-0.01, 0.01, _SHAPE).astype(np.float32)
                constants.append(numpy_helper.from_array(data, term))
            nodes.append(helper.make_node("Sum", [value, *terms], [f"y{index}"]))
        else:
            nodes.append(helper.make_node("Sigmoid", [value], [f"y{index}"]))
        value = f"y{index}"
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, _SHAPE)],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def chain_inputs() -> list[dict[str, Any]]:
    """The data description of a chain's only input."""
    fill = {"kind": "normal", "seed": 1}
    return [{"name": "x", "kind": "tensor", "dtype": "float32", "shape": list(_SHAPE),
             "fill": fill}]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a runtime and its profiler add, at the moment of one block.

    Attributes:
        call_s: fixed cost of one call, seconds.
        gap_s: cost between one kernel and the next in a plain run, seconds.
        profiler_s: what the profiler adds to the reported time of a one-input node.
        profiler_per_input_s: what it adds for each further input of a node.
        between_s: what the profiler spends per node outside the times that it reports.
    """

    call_s: float
    gap_s: float
    profiler_s: float
    profiler_per_input_s: float
    between_s: float = 0.0

    def profiler_bias_s(
        self, inputs: NDArray[np.int64], between_s: float | None = None
    ) -> NDArray[np.float64]:
        """What the profiler adds to nodes with ``inputs`` inputs each, seconds, same shape.

        Args:
            between_s: what the profiler spends per node outside the reported times in the
                network at hand. A network throws the profiler's code and data out of the
                caches, so that it runs slower than in a chain, inside the reported times
                as outside them. None: as in the chain.
        """
        slower = 1.0
        if between_s is not None and self.between_s > 0:
            # Inside the reported times it loses about half as much (in the logarithm) as
            # outside: chosen on two networks, checked by closure on the others.
            slower = max(1.0, between_s / self.between_s) ** 0.5
        extra = np.maximum(inputs - 1, 0)
        per_node = self.profiler_s + self.profiler_per_input_s * extra
        return np.asarray(slower * per_node, dtype=np.float64)

    def gap_total_s(self, nodes: int) -> float:
        """The gap's share of one inference of ``nodes`` kernels, the call included, seconds."""
        return self.call_s + nodes * self.gap_s


def overhead(
    plain_s: dict[str, NDArray[np.float64]],
    reported_s: dict[str, NDArray[np.float64]],
    between_s: float = 0.0,
) -> Overhead:
    """The overhead that the chains of one block show.

    Args:
        plain_s: seconds per plain run, by chain name; shape (runs,).
        reported_s: seconds per node that the profiler reported; shape (runs, nodes).
        between_s: seconds per node outside the reported times in the long chain.

    A Sigmoid of 128 values takes tens of nanoseconds, so the slope over the length
    of the chain is the gap. A wide chain's slope is its own, since a Sum computes more.
    """
    plain = {name: float(central_mean(values)) for name, values in plain_s.items()}
    gap = max(0.0, (plain[LONG] - plain[SHORT]) / SPAN)
    call = max(0.0, plain[SHORT] - _LENGTHS[SHORT] * gap)
    reported = {name: _central_node_mean(values) for name, values in reported_s.items()}
    base = reported[LONG]
    wide_slope = max(0.0, (plain[WIDE] - call) / _LENGTHS[WIDE])
    wide = reported[WIDE] - (wide_slope - gap)
    return Overhead(
        call_s=call,
        gap_s=gap,
        profiler_s=base,
        profiler_per_input_s=max(0.0, (wide - base) / (_WIDE_INPUTS - 1)),
        between_s=between_s,
    )


def _central_node_mean(values: NDArray[np.float64]) -> float:
    totals = values.sum(axis=1)
    return float(central_mean(totals)) / int(values.shape[1])
