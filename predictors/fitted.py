"""The table where it knows, the fitted regressor where it does not: a cost model of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lwprof.errors import CostMiss
from lwprof.predictors.known_graphs import KernelName
from lwprof.predictors.lookup import LookupCostModel
from lwprof.profiler.kernels import Workload
from lwprof.profiler.statistics import Estimate
from lwprof.profiler.store import Context, Store

if TYPE_CHECKING:
    from lwprof.predictors.kernel_regressor import KernelRegressor

Unknown = Literal["miss", "extrapolate"]


def saved_at(folder: Path, context: Context) -> Path:
    """File of the fitted latency regressor of a context."""
    return folder / context.key.replace(":", "_") / "latency_s.json"


class FittedCostModel(LookupCostModel):
    """Answers from a context's table, and for kernels that it lacks from a regressor.

    Args:
        device: the device's name, for messages.
        store: an open store.
        context: the context whose numbers answer.
        regressor: fitted on that context's kernels, or the file that one was saved to: it is
            loaded when the first kernel is missing from the table.
        unknown: what becomes of kernels unlike all that were measured: ``miss`` raises
            CostMiss, ``extrapolate`` answers with a wide interval and that source.
    """

    def __init__(
        self,
        device: str,
        store: Store,
        context: Context,
        regressor: KernelRegressor | Path,
        unknown: Unknown = "miss",
        folder: Path | None = None,
    ) -> None:
        super().__init__(device, store, context, folder)
        self._regressor = regressor
        self.unknown = unknown

    @property
    def regressor(self) -> KernelRegressor:
        """What answers for kernels that the table lacks.

        Raises:
            StoreError: its file is damaged, or of another version.
        """
        if isinstance(self._regressor, Path):
            from lwprof.predictors.kernel_regressor import KernelRegressor

            self._regressor = KernelRegressor.load(self._regressor)
        return self._regressor

    def _estimate(self, model: str, missing: Sequence[KernelName]) -> dict[str, Estimate]:
        """The regressor's word on kernels that the table lacks."""
        workloads = [self._workload(model, kernel) for kernel in missing]
        foreign = self.regressor.out_of_distribution(workloads)
        strange = [w for w, unlike in zip(workloads, foreign, strict=True) if unlike]
        if strange and self.unknown == "miss":
            raise CostMiss(
                f"{model}: nothing like {strange[0]} was measured on {self.device!r}: run "
                f"lwprof measure {model} --device {self.device}, or ask with --unknown "
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

    def _workload(self, model: str, kernel: KernelName) -> Workload:
        workload = kernel.workload
        if workload is not None:
            return workload
        subject = self._store.subject(kernel.key)
        if subject is None:
            raise CostMiss(
                f"{model}: the runtime's own kernel {'+'.join(kernel.operators)} has no "
                f"description to predict from: run lwprof measure {model} --device "
                f"{self.device}",
                (kernel.key,),
            )
        return Workload.from_description(subject.description, subject.key)
