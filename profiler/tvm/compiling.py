"""Compiling a model for this machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lwprof.profiler.tvm import artifact as artifacts
from lwprof.profiler.tvm import build, frontend, fusion, layout, scheduling, toolchain
from lwprof.profiler.tvm.artifact import TvmArtifact, TvmKernel
from lwprof.profiler.tvm.picking import TEMPLATE_VERSION, Picker, Store
from lwprof.profiler.tvm.simplify import Origin, simplify
from lwprof.profiler.tvm.templates import Setting

Progress = Callable[[str, float], None]


def compile_model(
    model: Any,
    *,
    threads: int = 1,
    cache_dir: Path,
    tune_s: float = 0.0,
    schedules: bool = True,
    progress: Progress | None = None,
) -> TvmArtifact:
    """Compile a model with TVM for this machine.

    Args:
        model: a :class:`lwprof.profiler.graph.Graph` or an ``onnx.ModelProto``
            with concrete input shapes.
        threads: threads that kernels may use; tiles are picked for that number.
        cache_dir: folder for compiled models and picked tiles.
        tune_s: seconds to spend on a wider search of tiles for the kernels that
            take most of the time; its finds are kept for later calls.
        schedules: False leaves every function unscheduled (``untuned``).
        progress: called with what is being done and the fraction done, 0 to 1.

    Returns:
        The compiled model, from the cache when nothing has changed.

    Raises:
        MissingExtra: TVM is not installed.
        ModelError: TVM cannot read the model.
        HostError: no linker, or the cache cannot be written.
    """
    tvm = toolchain.require_tvm()
    proto = getattr(model, "proto", model)
    name = getattr(model, "name", None) or proto.graph.name or "the model"
    report = progress or (lambda what, done: None)
    target = toolchain.host_target(threads)
    folder = artifacts.cache_folder(cache_dir)
    key = _key(proto, str(target), str(tvm.__version__), threads, schedules)
    description = folder / f"{key}.json"
    cached = artifacts.load(description)
    if cached is not None and tune_s <= cached.tuned_s:
        return cached
    started = time.perf_counter()
    report("reading the model", 0.0)
    simplified = simplify(proto)
    module = frontend.import_model(simplified.model, name)
    unit = toolchain.vector_unit(target)
    lowered = fusion.lower(layout.block_layouts(module, unit) if schedules else module)
    if schedules:
        context = f"{unit}|{threads}|{tvm.__version__}|{TEMPLATE_VERSION}"
        picker = Picker(target, Setting(unit, threads), Store(folder / "tiles", context))
        scheduled = scheduling.schedule(lowered, picker, threads, tune_s, report)
    else:
        labels = dict.fromkeys((f for f, _ in lowered.calls), scheduling.UNTUNED)
        scheduled = scheduling.Scheduled(lowered.module, labels, 0.0)
    report("compiling", 0.9)
    kernels: list[TvmKernel] = []
    inputs = tuple(v.name for v in _inputs(simplified.model.graph))
    outputs = tuple(v.name for v in simplified.model.graph.output)

    def describe(names: Sequence[str]) -> dict[str, Any]:
        kernels.extend(_kernels(names, lowered, simplified.origins, scheduled.labels))
        nodes = [{"name": k.runtime_node, "op": "+".join(k.operators)} for k in kernels]
        return {"inputs": inputs, "outputs": outputs, "kernels": nodes if names else None}

    executable = build.build(scheduled.module, target, describe)
    library = folder / f"{key}.so"
    build.export(executable, library)
    made = TvmArtifact(
        library=library,
        sha256=artifacts.digest(library),
        kernels=tuple(kernels),
        inputs=inputs,
        outputs=outputs,
        target=toolchain.vector_unit(target).target,
        tvm=str(tvm.__version__),
        compile_s=time.perf_counter() - started,
        tuned_s=tune_s,
    )
    artifacts.save(made, description)
    return made


def _inputs(graph: Any) -> list[Any]:
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _key(proto: Any, target: str, version: str, threads: int, schedules: bool) -> str:
    facts = f"{target}|{version}|{TEMPLATE_VERSION}|{threads}|{schedules}"
    return hashlib.sha256(proto.SerializeToString(deterministic=True) + facts.encode()).hexdigest()


def _kernels(
    names: Sequence[str],
    lowered: fusion.Lowered,
    origins: Sequence[Origin],
    labels: dict[str, str],
) -> tuple[TvmKernel, ...]:
    """Join the calls of the library with the calls that fusion traced."""
    traced = list(lowered.calls)
    if not names:
        names = [function for function, _ in traced]
    kernels = []
    for index, name in enumerate(names):
        # Lowering may turn a call into a view or add calls of its own; order is kept.
        place = next((i for i, (function, _) in enumerate(traced) if function == name), None)
        positions = () if place is None else traced[place][1]
        traced = traced if place is None else traced[place + 1 :]
        operators = tuple(t for p in positions for t in origins[p].operators)
        nodes = tuple(n for p in positions for n in origins[p].nodes)
        kernels.append(
            TvmKernel(
                runtime_node=f"{index}:{name}",
                function=name,
                operators=operators,
                nodes=nodes,
                kind="compute" if operators else "layout",
                schedule=labels.get(name, "packed"),
            )
        )
    return tuple(kernels)
