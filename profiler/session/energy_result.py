"""What a measurement says about energy, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lwprof.profiler.statistics import Estimate
from lwprof.profiler.statistics.energy import Energy
from lwprof.profiler.statistics.kernel_energy import EnergyClosure


@dataclass(frozen=True, slots=True)
class ModelEnergy:
    """Energy of one inference, and of its kernels by workload.

    Attributes:
        total: intervals; None where there is none, for the reason in ``refused``.
        scope: which rails, what they include; None without a sensor.
        refused: why there is no energy.
        kernels: joules above idle of one execution alone, by workload.
        group: workloads that the loops cannot tell apart; ``group_j``: of all of them together.
        closure: the kernels' sum against the model's own windows.
    """

    total: Energy | None
    scope: Mapping[str, Any] | None
    refused: str | None = None
    kernels: Mapping[str, Estimate] = field(default_factory=dict)
    group: tuple[str, ...] = ()
    group_j: Estimate | None = None
    closure: EnergyClosure | None = None

    def of_kernel(self, workload: str, latency_s: Estimate) -> tuple[Estimate, Estimate] | None:
        """Whole energy and energy above idle of one execution; None where it is not known.

        The whole is what the kernel draws above idle plus idling for as long as it takes.
        """
        above = self.kernels.get(workload)
        if above is None or self.total is None:
            return None
        idle_w = self.total.idle_w.value
        low, middle, high = (
            max(0.0, idle_w * seconds)
            for seconds in (latency_s.low, latency_s.value, latency_s.high)
        )
        whole = Estimate(
            above.value + middle, above.low + min(low, middle), above.high + max(high, middle),
            level=above.level, source=above.source, blocks=above.blocks,
        )  # fmt: skip
        return whole, above

    def quantities(self) -> dict[str, Estimate]:
        """What a store keeps of it: measured numbers by their names."""
        if self.total is None or self.total.energy_j.source != "measured":
            return {}
        return {"energy_j": self.total.energy_j, "energy_above_idle_j": self.total.above_idle_j,
                "power_w": self.total.power_w}  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The contract's fields of a model."""
        total = self.total
        out: dict[str, Any] = {
            "energy_j": None if total is None else total.energy_j.to_json(),
            "energy_above_idle_j": None if total is None else total.above_idle_j.to_json(),
            "power_w": None if total is None else total.power_w.to_json(),
            "energy_scope": None if self.scope is None else dict(self.scope),
        }
        if total is not None:
            out["idle_power_w"] = total.idle_w.to_json()
        if self.refused is not None:
            out["energy_refused"] = self.refused
        if self.group_j is not None:
            out["energy_group"] = {"workloads": list(self.group),
                                   "energy_above_idle_j": self.group_j.to_json()}  # fmt: skip
        if self.closure is not None:
            out["energy_closure"] = {
                "sum_j": self.closure.sum_j.to_json(),
                "end_to_end_j": self.closure.end_to_end_j.to_json(),
                "error": self.closure.error,
                "closes": self.closure.closes,
            }
        return out


NONE = ModelEnergy(None, None)
"""Of a device without a sensor, where nobody asked: null, never 0."""
