"""``prune``: the public function behind ``lwprof prune``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwprof.errors import CostMiss, LwprofError, RunError, UsageError

if TYPE_CHECKING:
    from lwprof.compression.graph.resizing import Resizable
    from lwprof.compression.pruning.pricing import Pricing
    from lwprof.compression.pruning.result import PruningResult
    from lwprof.profiler.statistics import Estimate


def prune(
    model: Any,
    device: str = "host",
    *,
    latency_s: float | None = None,
    energy_j: float | None = None,
    peak_memory_bytes: float | None = None,
    saliency: str = "l2",
    selector: str | None = None,
    calibration: Sequence[Mapping[str, Any]] = (),
    labels: Sequence[Any] | None = None,
    recover: Callable[[Any], Any] | None = None,
    evaluate: Callable[[Any], float] | None = None,
    predict_only: bool = False,
    step: int | None = None,
    budget_s: float = 60.0,
    store: str | None = None,
    state: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    progress: Callable[..., None] = lambda *_: None,
    **choice: Any,
) -> PruningResult:
    """Removes channels until a network meets a budget on a device.

    Exactly one of the three budgets is given. Prices come from the device's cost model; where
    it has none that knows the smaller networks, from multiply-accumulates scaled by
    measurements. Unless ``predict_only``, every network tried is measured, the price corrected,
    and the result meets the limit with its interval's upper end.

    Args:
        saliency, selector: see docs/pruning.md; the selector's default is ``per-cost``
            (``global`` for memory).
        calibration: batches, input name → array; random data without.
        labels: classes of each batch, for saliencies that need them.
        recover: retrains a pruned ``ModelProto`` and returns it.
        evaluate: accuracy of a ``ModelProto``, for the record.
        step: channels are removed in multiples of this. None: 8 for latency and energy, since
            kernels are made for such widths and others can be slower than more; else 1.
        budget_s: device seconds for each measurement.
        state: a file that keeps measurements, so that an interrupted run goes on.
        output: where to write the pruned network.
        choice: runtime, provider, threads … of the context.

    Returns:
        ``.feasible``; where it is False, ``.minimum`` says what can be reached.

    Raises:
        ModelError: the model cannot be read. UsageError: not one budget, or nothing to prune.
        RunError: the device failed, or has no sensor for an energy budget.
    """
    from lwprof.compression.graph.resizing import resizable
    from lwprof.compression.pruning.run import Pruner
    from lwprof.compression.pruning.scene import scene

    budgets = {"latency_s": latency_s, "energy_j": energy_j,
               "peak_memory_bytes": peak_memory_bytes}  # fmt: skip
    given = {name: value for name, value in budgets.items() if value is not None}
    if len(given) != 1:
        raise UsageError("give one budget: --latency 30ms, --energy 50mJ or --memory 320KiB")
    quantity, limit = next(iter(given.items()))
    seen = scene(model, calibration, labels, seed)
    measures = None
    if quantity != "peak_memory_bytes" and not predict_only:
        measures = _measuring(device, quantity, budget_s, store, seed, choice)
    price = _pricing(resizable(seen.found.graph), device, quantity, store, choice,
                     measured=measures is not None)  # fmt: skip
    chosen = selector or ("global" if quantity == "peak_memory_bytes" else "per-cost")
    pruner = Pruner(
        seen, price, quantity, limit, device, saliency, chosen, measures, recover, evaluate,
        None if state is None else Path(state), step or (1 if quantity == "peak_memory_bytes" else 8),
        progress,
    )  # fmt: skip
    result = pruner.run()
    if output is not None and result.model is not None:
        Path(output).write_bytes(result.model.SerializeToString())
        result = replace(result, model_path=str(output))
    return result


def _pricing(found: Resizable, device: str, quantity: str, store: str | None,
             choice: Mapping[str, Any], *, measured: bool) -> Pricing:  # fmt: skip
    from lwprof.compression.pruning import pricing

    if quantity == "peak_memory_bytes":
        return pricing.by_memory(found)
    from lwprof.api import cost_model

    try:
        # Narrow layers lie beyond what was measured; every network tried is measured anyhow.
        cost = cost_model(device, store=store, unknown="extrapolate", **choice)
        return pricing.by_cost_model(cost, found, quantity)
    except (CostMiss, UsageError) as error:
        if not measured:
            raise
        del error  # every network will be measured: multiply-accumulates order them well enough
    return pricing.by_macs(found)


def _measuring(device: str, quantity: str, budget_s: float, store: str | None, seed: int,
               choice: Mapping[str, Any]) -> Callable[[Any], Estimate]:  # fmt: skip
    from lwprof.api import measure

    options = {key: value for key, value in choice.items()
               if value is not None and key in ("runtime", "provider", "threads", "precision")}  # fmt: skip

    def measured(model: Any) -> Estimate:
        result = measure(
            [model], device, kernels=False, budget_s=budget_s, store=store, seed=seed,
            energy=True if quantity == "energy_j" else None, **options,
        )  # fmt: skip
        (entry,) = result.models
        found = (
            entry.latency_s
            if quantity == "latency_s"
            else (entry.energy.total.energy_j if entry.energy.total else None)
        )
        if found is None:
            raise RunError(f"{device!r} measured no energy: choose a device with a sensor, or "
                           "give a latency budget")  # fmt: skip
        return found

    return measured


def read_calibration(path: str | Path) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Batches from an ``.npz`` file: one array per input, and ``labels`` where it has them.

    Arrays have one more leading axis, the batches: (batches, *the input's shape).

    Raises:
        UsageError: not such a file, or arrays of different numbers of batches.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, LwprofError) as error:
        raise UsageError(f"{path} is no .npz file of calibration data: {error}") from error
    labels = arrays.pop("labels", None)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or (labels is not None and len(labels) not in counts):
        raise UsageError(f"{path}: every array needs the same number of batches along its first "
                         "axis")  # fmt: skip
    feeds = [{name: array[i] for name, array in arrays.items()} for i in range(counts.pop())]
    return feeds, None if labels is None else [row.reshape(-1) for row in labels]
