"""NNI-style profilers: ``profile(sample)`` → cost, and the expectation of a one-shot strategy.

NNI (read at 767ed7f) asks a profiler for ``profile(sample: dict) -> float``; its penalties add or
multiply. Nothing of NNI is imported: whatever calls ``profile`` can use this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lwprof.errors import UsageError
from lwprof.predictors.space import Space
from lwprof.search.constraints import Costs


class Profiler:
    """Costs of samples, a sample being a mapping from a block's name to its option.

    Args:
        space: an ``OptionSpace``, or any space with the blocks named ``block0`` ….
        costs: ``Priced(table)`` or ``Regressed(regressor)``.
        quantity: which cost.
        scale: what the answers are multiplied by: 1e3 gives milliseconds, as NNI's own do.
    """

    def __init__(self, space: Space, costs: Costs, quantity: str = "latency_s",
                 scale: float = 1.0) -> None:  # fmt: skip
        if quantity not in costs.quantities:
            raise UsageError(f"nothing prices {quantity}, only {', '.join(costs.quantities)}")
        self._space, self._costs, self._scale = space, costs, scale
        self._column = costs.quantities.index(quantity)

    def profile(self, sample: Mapping[str, Any]) -> float:
        """The cost of one sample."""
        if hasattr(self._space, "blocks"):
            code = self._space.encode([dict(sample)])
        else:
            code = np.array([[int(sample[f"block{i}"]) for i in range(len(self._space.choices))]])
        return float(self._costs.predict(self._space.check(code))[0, self._column]) * self._scale


class ExpectationPenalty:
    """NNI's ``ExpectationProfilerPenalty``: loss ∘ scale · nonlinear(cost ÷ baseline − 1).

    Args:
        nonlinear: ``linear``, ``positive`` or ``absolute``.
        aggregate: ``add`` or ``mul``.
    """

    def __init__(self, profiler: Profiler, baseline: float, scale: float = 1.0,
                 nonlinear: str = "linear", aggregate: str = "add") -> None:  # fmt: skip
        if nonlinear not in ("linear", "positive", "absolute") or aggregate not in ("add", "mul"):
            raise UsageError("penalties are linear, positive or absolute, and add or mul")
        self._profiler, self._baseline, self._scale = profiler, baseline, scale
        self._nonlinear, self._aggregate = nonlinear, aggregate

    def aggregate(self, loss: float, sample: Mapping[str, Any]) -> float:
        """The penalised loss of one sample."""
        over = self._profiler.profile(sample) / self._baseline - 1
        shape = {"linear": over, "positive": max(over, 0.0), "absolute": abs(over)}
        penalty = self._scale * shape[self._nonlinear]
        return loss + penalty if self._aggregate == "add" else loss * (1 + penalty)
