"""What a cost model expects of a model and of its variants, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lwprof.errors import CostMiss, UsageError
from lwprof.predictors.lookup import LookupCostModel
from lwprof.predictors.opening import open_cost_model
from lwprof.profiler.graph import Graph
from lwprof.profiler.statistics import Estimate


@dataclass(slots=True)
class Pricing:
    """A cost model, or why there is none.

    Attributes:
        model: None where nothing was measured on the device in this context.
        reason: why ``model`` is None.
        missed: by model name, what the cost model had no answer for.
    """

    model: LookupCostModel | None
    reason: str | None = None
    missed: dict[str, str] = field(default_factory=dict)

    def latency(self, graph: Any) -> Estimate | None:
        """Expected latency, seconds; None where the cost model does not know."""
        if self.model is None:
            return None
        try:
            return self.model.predict([_proto(graph)]).models[0].latency_s
        except CostMiss as miss:
            name = graph.name if isinstance(graph, Graph) else graph.graph.name
            self.missed[name] = str(miss)
            return None

    def seconds(self) -> Callable[[Any], float] | None:
        """The point estimate alone, for choosing ranks; None without a cost model.

        The function raises ``CostMiss`` for what the cost model does not know.
        """
        model = self.model
        if model is None:
            return None
        return lambda graph: float(model.predict([_proto(graph)]).mean[0, 0])


def _proto(graph: Any) -> Any:
    """What a cost model takes: a graph that was read is the model behind it."""
    return graph.proto if isinstance(graph, Graph) else graph


def open_pricing(device: str, choice: dict[str, Any], store: str | None) -> Pricing:
    """The cost model of a context; kernels unlike all that were measured are extrapolated."""
    try:
        return Pricing(open_cost_model(device, choice, store, "extrapolate"))
    except UsageError as error:
        return Pricing(None, str(error))
