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
        foreign = self.regressor.out_of_distribution(workloads)
        strange = [w for w, unlike in zip(workloads, foreign, strict=True) if unlike]
        if strange and self.unknown == "miss":
            raise CostMiss(
                f"{graph.name}: nothing like {strange[0]} was measured on {self.device!r}: run "
                f"lwprof measure {graph.name} --device {self.device}, or ask with --unknown "
                "extrapolate",
                tuple(workload.key for workload in strange),
            )
        mean = self.regressor.predict(workloads)
        low, high = self.regressor.predict_interval(workloads, level=0.95)
        rows = zip(workloads, mean, low, high, foreign, strict=True)
        return {
            w.key: Estimate(float(m), float(a), float(b),
                            source="extrapolated" if unlike else "predicted")
            for w, m, a, b, unlike in rows
        }  # fmt: skip

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
