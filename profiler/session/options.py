"""What a user asks for: the runtime's settings and how precise the answer must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lwprof.errors import UsageError

RUNTIMES = ("onnxruntime", "tvm")
PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is run: everything that changes its speed and that a user can choose.

    Attributes:
        runtime: "onnxruntime" or "tvm".
        provider: execution provider, with or without the suffix "ExecutionProvider".
        threads: intra-operator threads; None means the cores of the fastest cluster.
        precision: None keeps the file's element types.
        batch: None keeps the file's batch size (1 where it is free).
        input_shapes: shapes for inputs that the file leaves open.
        allow_fallback: measure although some operators fall back to the CPU provider.
        tune_s: seconds of TVM schedule tuning before measuring.
    """

    runtime: str = "onnxruntime"
    provider: str = "CPU"
    threads: int | None = None
    precision: str | None = None
    batch: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    allow_fallback: bool = False
    tune_s: float = 0.0

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise UsageError(f"unknown runtime {self.runtime!r}: choose {' or '.join(RUNTIMES)}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UsageError(
                f"unknown precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}"
            )
        for name in ("threads", "batch"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 4096:
                raise UsageError(f"{name} must lie between 1 and 4096, not {value}")
        if self.tune_s and self.runtime != "tvm":
            raise UsageError("tuning needs the TVM runtime: add --runtime tvm or drop --tune")

    def runtime_options(self, threads: int, *, profile: bool = False) -> dict[str, Any]:
        """The options of one runtime session, as the agent's protocol wants them."""
        return {
            "runtime": self.runtime,
            "provider": self.provider.removesuffix("ExecutionProvider"),
            "threads": threads,
            "allow_fallback": self.allow_fallback,
            "profile": profile,
        }


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how precisely to measure.

    Attributes:
        budget_s: device time to spend at most, over all models.
        rel_ci: half-width of the latency's interval, relative to the latency, at
            which measuring stops.
        kernels: measure kernels in context and alone; False leaves only end to end.
        isolated: measure each kernel alone as well.
        in_context_blocks: fresh processes in which each model's kernels are profiled.
        once: measure each model end to end in one process only, whatever ``rel_ci`` says.
        fresh: ignore earlier measurements in the store.
        sustained_s: seconds of continuous load before the steady state is measured.
        energy: True insists on joules, None measures them where a sensor is, False does not.
        rails: power rails by name; ``("total",)`` insists on one for the whole device; empty:
            the best there is.
        assumed_power_w: idle and busy watts for an estimate where no sensor is; the result
            is marked ``simulated``.
    """

    budget_s: float = 180.0
    rel_ci: float = 0.02
    kernels: bool = True
    isolated: bool = True
    in_context_blocks: int = 12
    once: bool = False
    fresh: bool = False
    sustained_s: float = 0.0
    energy: bool | None = None
    rails: tuple[str, ...] = ()
    assumed_power_w: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0.0005 <= self.rel_ci < 1:
            raise UsageError(f"--rel-ci must lie between 0.0005 and 1, not {self.rel_ci:g}")
        if not 1.0 <= self.budget_s <= 7 * 86400:
            raise UsageError(f"--budget must lie between 1s and 168h, not {self.budget_s:g}s")
        if self.assumed_power_w is not None:
            idle, busy = self.assumed_power_w
            if not 0 <= idle <= busy <= 1e5:
                raise UsageError(
                    f"assumed powers must be idle <= busy in watts, not {idle:g} and {busy:g}"
                )
