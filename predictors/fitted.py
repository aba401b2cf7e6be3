"""The table where it knows, the fitted regressor where it does not: a cost model of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lwprof.errors import CostMiss
from lwprof.predictors.kernel_regressor import KernelRegressor
from lwprof.predictors.lookup import KernelName, LookupCostModel
from lwprof.profiler.graph import Graph
from lwprof.profiler.kernels import Workload
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import Context, Store

Unknown = Literal["miss", "extrapolate"]


class FittedCostModel(LookupCostModel):
    """Answers from a context's table, and for kernels that it lacks from a regressor.

    Args:
        device: the device's name, for messages.
        store: an open store.
        context: the context whose numbers answer.
        regressor: fitted on that context's kernels.
        unknown: what becomes of kernels unlike all that were measured: ``miss`` raises
            CostMiss, ``extrapolate`` answers with a wide interval and that source.
    """

    def __init__(
        self,
        device: str,
        store: Store,
        context: Context,
        regressor: KernelRegressor,
        unknown: Unknown = "miss",
    ) -> None:
        super().__init__(device, store, context)
        self.regressor = regressor
        self.unknown = unknown

    def _estimate(self, graph: Graph, missing: Sequence[KernelName]) -> dict[str, Estimate]:
        """The regressor's word on kernels that the table lacks."""
        workloads = [self._workload(graph, kernel) for kernel in missing]
        sources = self.regressor.sources(workloads)
        if self.unknown == "miss" and "extrapolated" in sources:
            place = list(sources).index("extrapolated")
            raise CostMiss(
                f"{graph.name}: nothing like {workloads[place]} was measured on {self.device!r}: "
                f"run lwprof measure {graph.name} --device {self.device}, or ask with "
                "--unknown extrapolate",
                tuple(w.key for w, s in zip(workloads, sources, strict=True) if s != "predicted"),
            )
        mean = self.regressor.predict(workloads)
        low, high = self.regressor.predict_interval(workloads, level=0.95)
        rows = zip(workloads, mean, low, high, sources, strict=True)
        return {
            w.key: Estimate(float(m), float(a), float(b), source=str(s)) for w, m, a, b, s in rows
        }

    def _workload(self, graph: Graph, kernel: KernelName) -> Workload:
        if kernel.workload is not None:
            return kernel.workload
        subject = self._store.subject(kernel.key)
        if subject is None:
            raise CostMiss(
                f"{graph.name}: the runtime's own kernel {'+'.join(kernel.operators)} has no "
                f"description to predict from: run lwprof measure {graph.name} --device "
                f"{self.device}",
                (kernel.key,),
            )
        return Workload.from_description(subject.description, subject.key)
