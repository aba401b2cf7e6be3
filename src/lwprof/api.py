"""The public functions: every command has one, and each command is a thin face of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lwprof.errors import UsageError

if TYPE_CHECKING:
    from lwprof.predictors.fitting import Fit
    from lwprof.predictors.lookup import LookupCostModel
    from lwprof.profiler.graph.inspection import Inspection
    from lwprof.profiler.session.compare import ComparisonResult
    from lwprof.profiler.session.fleet import FleetResult
    from lwprof.profiler.session.options import Effort, Settings
    from lwprof.profiler.session.result import MeasurementResult
    from lwprof.profiler.session.runner import Progress


def _silent(*_: object) -> None:
    """The progress and announcement of a call from Python: none."""


def inspect(
    *models: Any,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    runtime: str | None = None,
) -> Inspection:
    """What models are before anything is measured; touches no device.

    Args:
        models: ``.onnx`` paths, ``ModelProto`` objects, serialised bytes or zoo names.
        input_shapes: shapes for inputs that a file leaves open.
        batch: batch size, where it is free.
        runtime: also list the kernels that this runtime on this host makes of them.

    Raises:
        ModelError: a model cannot be read.
    """
    from lwprof.profiler.graph.inspection import inspect as inspect_models

    return inspect_models(
        list(models), input_shapes=input_shapes, batch=batch, kernels_of=_kernels_of(runtime)
    )


def _kernels_of(runtime: str | None) -> Callable[[Any], Any] | None:
    if runtime is None:
        return None
    from lwprof.profiler.session.kernels import kernels_on_host

    return lambda graph: kernels_on_host(graph, runtime)


def measure(
    models: str | Sequence[Any] = (),
    device: str = "host",
    *,
    runtime: str = "onnxruntime",
    provider: str = "CPU",
    threads: int | None = None,
    precision: str | None = None,
    batch: int | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    budget_s: float | None = None,
    rel_ci: float = 0.02,
    energy: bool | None = None,
    kernels: bool = True,
    tune_s: float = 0.0,
    store: str | None = None,
    fresh: bool = False,
    seed: int | None = None,
) -> MeasurementResult:
    """Measures models, their kernels and their memory on a device.

    Args:
        models: ``.onnx`` paths, ``ModelProto`` objects, bytes or zoo names; without any,
            the device's kernel campaign.
        device: name of a device; ``host`` is this machine.
        runtime: "onnxruntime" or "tvm".
        threads: None means the cores of the fastest cluster.
        budget_s: device seconds; None means 180 per model, 1200 for a campaign.
        rel_ci: relative half-width of the latency's interval at which measuring stops.
        energy: True insists on joules and fails without a sensor.
        tune_s: TVM only: seconds of schedule tuning first.
        store: database path or URL; None is the user's own.
        fresh: ignore what the store knows, and do not resume an interrupted run.

    Returns:
        SI units, an interval and a source for every number.

    Raises:
        ModelError: a model cannot be read or the runtime refuses it.
        DeviceUnknown: no such device.
        RunError: the device failed, or the budget was too small for one block.
    """
    from lwprof.profiler.session.options import Effort, Settings

    wanted = [models] if isinstance(models, str | bytes | Path) else list(models)
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    settings = Settings(
        runtime=runtime, provider=provider, threads=threads, precision=precision, batch=batch,
        input_shapes=shapes, tune_s=tune_s,
    )  # fmt: skip
    budget = budget_s or (180.0 * len(wanted) if wanted else 1200.0)
    effort = Effort(budget_s=budget, rel_ci=rel_ci, kernels=kernels, fresh=fresh)
    return run_measurement(
        wanted, device=device, settings=settings, effort=effort, energy=energy, store=store,
        seed=seed,
    )  # fmt: skip


def run_measurement(
    models: Sequence[Any],
    *,
    device: str,
    settings: Settings,
    effort: Effort,
    energy: bool | None = None,
    workloads_of: Sequence[str] = (),
    store: str | None = None,
    seed: int | None = None,
    progress: Progress = _silent,
    announce: Callable[[str], None] = _silent,
) -> MeasurementResult:
    """What ``measure`` and the command of that name do, with the settings made up already.

    Args:
        workloads_of: without models: the networks that the campaign chooses from.
        progress: called with what is being done, device seconds spent and expected.
        announce: called with the plan before a campaign starts.
    """
    from lwprof.predictors.campaign import run_campaign
    from lwprof.profiler.session.link import open_device
    from lwprof.profiler.session.measure import measure as measure_models
    from lwprof.profiler.session.prepare import read_model
    from lwprof.profiler.store import open_store

    graphs = [read_model(_in_precision(model, settings), settings) for model in models]
    with open_store(store) as database, open_device(device, settings.runtime) as link:
        effort = replace(effort, energy=effort.energy if energy is None else energy)
        if not graphs:
            return run_campaign(
                link, settings, effort, database, names=workloads_of, seed=seed,
                progress=progress, announce=announce,
            )  # fmt: skip
        return measure_models(
            link, graphs, settings, effort, database, seed=seed, progress=progress
        )


def run_fleet(
    models: Sequence[Any],
    *,
    devices: Sequence[str],
    progress: Callable[[str], Progress] = lambda _: _silent,
    **options: Any,
) -> FleetResult:
    """``run_measurement`` on several devices at the same time.

    Args:
        devices: their names; one that fails is among the result's failures.
        progress: gives the progress line of the device of that name.
        options: as ``run_measurement`` takes them.
    """
    from lwprof.profiler.session.fleet import measure_fleet

    def one(device: str, line: Progress) -> MeasurementResult:
        return run_measurement(models, device=device, progress=line, **options)

    return measure_fleet(devices, one, progress)


def compare(
    a: Any,
    b: Any,
    device: str = "host",
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    b_settings: Mapping[str, Any] | None = None,
    budget_s: float = 300.0,
    margin: float = 0.03,
    gates: Mapping[str, float] | None = None,
    store: str | None = None,
    seed: int | None = None,
) -> ComparisonResult:
    """Measures A and B interleaved, in pairs of fresh processes, until a verdict stands.

    Args:
        a, b: models as in ``measure``, or two saved results (``.json`` files).
        b_settings: fields of B's settings that differ from A's, e.g. ``{"threads": 2}``.
        margin: ratios this close to 1 count as the same.
        gates: allowed relative increase by quantity, e.g. ``{"latency": 0.05}``.

    Returns:
        Verdict, ratio of B over A with its interval, minimum detectable effect.

    Raises:
        ModelError: a model cannot be read or the runtime refuses it.
        UsageError: a gate on energy where nothing measures joules.
    """
    from lwprof.profiler.session.options import Effort, Settings

    settings = Settings(runtime=runtime, threads=threads)
    return run_comparison(
        a, b, device=device, settings=settings, settings_b=replace(settings, **(b_settings or {})),
        effort=Effort(budget_s=budget_s), margin=margin, gates=gates or {}, store=store, seed=seed,
    )  # fmt: skip


def run_comparison(
    a: Any,
    b: Any,
    *,
    device: str,
    settings: Settings,
    settings_b: Settings,
    effort: Effort,
    margin: float,
    gates: Mapping[str, float],
    store: str | None = None,
    seed: int | None = None,
    progress: Progress = _silent,
) -> ComparisonResult:
    """What ``compare`` and the command of that name do, with the settings made up already."""
    if _saved(a) and _saved(b):
        from lwprof.profiler.session.saved import compare_saved

        return compare_saved(Path(a), Path(b), margin=margin, gates=gates)
    if _saved(a) or _saved(b):
        raise UsageError("compare two models or two saved results, not one of each")
    from lwprof.profiler.session.compare import Arm
    from lwprof.profiler.session.compare import compare as compare_models
    from lwprof.profiler.session.link import open_device
    from lwprof.profiler.session.prepare import read_model
    from lwprof.profiler.store import open_store

    arms = [Arm(read_model(_in_precision(m, s), s), s)
            for m, s in ((a, settings), (b, settings_b))]  # fmt: skip
    with open_store(store) as database, open_device(device, settings.runtime) as link:
        return compare_models(
            link, arms[0], arms[1], effort, database, margin=margin, gates=gates, seed=seed,
            progress=progress,
        )  # fmt: skip


def _in_precision(model: Any, settings: Settings) -> Any:
    from lwprof.converting import in_precision

    return in_precision(model, settings.precision, batch=settings.batch,
                        input_shapes=settings.input_shapes)  # fmt: skip


def _saved(model: Any) -> bool:
    return isinstance(model, str | Path) and str(model).endswith(".json")


def cost_model(
    device: str = "host",
    *,
    runtime: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    power_mode: str | None = None,
    store: str | None = None,
    unknown: Literal["miss", "extrapolate"] = "miss",
) -> LookupCostModel:
    """The cost model of a device: its lookup table, and its regressor once one is fitted.

    Args:
        runtime, provider, threads, precision, power_mode: choose the context.
        unknown: what becomes of kernels unlike all that were measured: CostMiss, or an
            answer with source ``extrapolated`` and a wide interval.

    Raises:
        UsageError: no context of the device matches, or several do (they are listed).
        DeviceUnknown: no such device.
    """
    from lwprof.predictors.opening import open_cost_model

    choice = _choice(runtime, provider, threads, precision, power_mode)
    cost = open_cost_model(device, choice, store, unknown)
    cost.structure = _channels_of
    return cost


def _channels_of(model: Any) -> Any:
    from lwprof.compression.graph.resizing import resizable

    return resizable(model)


def fit(
    device: str = "host",
    *,
    runtime: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    power_mode: str | None = None,
    store: str | None = None,
    random_state: int = 0,
) -> Fit:
    """Fits the predictors of one context of a device, and saves them beside its store.

    Returns:
        Held-out errors and interval coverage by family of kernels, and what to measure next.

    Raises:
        UsageError: no context matches or several do; or its table is too small.
    """
    from lwprof.predictors.opening import fit as fit_chosen

    choice = _choice(runtime, provider, threads, precision, power_mode)
    return fit_chosen(device, choice, store, random_state)


def _choice(runtime: str | None, provider: str | None, threads: int | None,
            precision: str | None, power_mode: str | None) -> dict[str, Any]:  # fmt: skip
    fields = {"runtime": runtime, "provider": provider, "threads": threads,
              "precision": precision, "power_mode": power_mode}  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def predict(models: Any, device: str = "host", **choice: Any) -> Any:
    """``cost_model(device, …).predict(models)``.

    Raises:
        CostMiss: the table lacks a kernel of a model.
    """
    return cost_model(device, **choice).predict(models)
