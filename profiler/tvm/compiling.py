"""Compiling a model for this machine."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lwprof.profiler.graph.model import Graph
from lwprof.profiler.tvm import artifact as artifacts
from lwprof.profiler.tvm import build, frontend, fusion, layout, scheduling, toolchain
from lwprof.profiler.tvm.artifact import TvmArtifact, TvmKernel
from lwprof.profiler.tvm.attribution import Attribution
from lwprof.profiler.tvm.picking import TEMPLATE_VERSION, Picker, Store
from lwprof.profiler.tvm.simplify import simplify
from lwprof.profiler.tvm.templates import Setting

Progress = Callable[[str, float], None]


def compile_model(
    model: Any,
    *,
    threads: int = 1,
    cache_dir: Path | None = None,
    tune_s: float = 0.0,
    schedules: bool = True,
    search: bool = True,
    progress: Progress | None = None,
) -> TvmArtifact:
    """Compile a model with TVM for this machine.

    Args:
        model: a :class:`lwprof.profiler.graph.Graph`, or what
            :func:`lwprof.profiler.graph.read` makes one of.
        threads: threads that kernels may use; tiles are picked for that number.
        cache_dir: folder for compiled models and picked tiles; the user's cache
            folder by default.
        tune_s: seconds to spend on a wider search of tiles for the kernels that
            take most of the time; what it finds is kept for later calls.
        schedules: False leaves every function unscheduled (``untuned``).
        search: False takes each template's most promising tiles unmeasured, which
            compiles fast; nothing is kept of it but the compiled model.
        progress: called with what is being done and the fraction done, 0 to 1.

    Returns:
        The compiled model, from the cache when nothing has changed.

    Raises:
        MissingExtra: TVM is not installed.
        ModelError: TVM cannot read the model.
        HostError: no linker, or the cache cannot be written.
    """
    toolchain.require_tvm()
    from lwprof.profiler.graph import read

    graph = model if isinstance(model, Graph) else read(model)
    folder = artifacts.cache_folder(cache_dir)
    mode = "search" if search else "first"
    if not schedules:
        mode = "untuned"
    compilation = _Compilation(graph, folder, threads, mode, progress or _silent)
    cached = artifacts.load(compilation.description)
    if cached is not None and tune_s <= cached.tuned_s and compilation.is_current(cached):
        return cached
    return compilation.run(max(0.0, tune_s))


class _Compilation:
    """One model on its way through the compiler."""

    def __init__(
        self, graph: Graph, folder: Path, threads: int, mode: str, progress: Progress
    ) -> None:
        tvm = toolchain.require_tvm()
        self._graph = graph
        self._threads = threads
        self._mode = mode
        self._progress = progress
        self._target = toolchain.host_target(threads)
        self._unit = toolchain.vector_unit(self._target)
        self._version = str(tvm.__version__)
        context = f"{self._unit}|{threads}|{self._version}|{TEMPLATE_VERSION}"
        self._store = Store(folder / "tiles", context)
        facts = f"{graph.sha256}|{self._target}|{context}|{mode}|{artifacts.FORMAT}"
        key = hashlib.sha256(facts.encode()).hexdigest()
        self.description = folder / f"{key}.json"
        self._library = folder / f"{key}.so"

    def run(self, tune_s: float) -> TvmArtifact:
        """Read, fuse, schedule, build, link, and keep the result."""
        started = time.perf_counter()
        self._progress("reading the model", 0.0)
        simplified = simplify(self._graph)
        module = frontend.import_model(simplified, self._graph.name)
        if self._mode != "untuned":
            module = layout.block_layouts(module, self._unit)
        lowered = fusion.lower(module)
        scheduled = self._scheduled(lowered, tune_s)
        self._progress("compiling", 0.9)
        attribution = Attribution(self._graph, simplified)
        kernels: list[TvmKernel] = []
        inputs = tuple(tensor.name for tensor in self._graph.inputs)
        outputs = tuple(tensor.name for tensor in self._graph.outputs)

        def describe(names: Sequence[str]) -> dict[str, Any]:
            kernels.extend(traced_kernels(names, lowered, scheduled, attribution))
            nodes = [{"name": k.kernel.runtime_node, "op": k.kernel.runtime_op} for k in kernels]
            return {"inputs": inputs, "outputs": outputs, "kernels": nodes if names else None}

        executable = build.build(scheduled.module, self._target, describe)
        build.export(executable, self._library)
        made = TvmArtifact(
            library=self._library,
            sha256=artifacts.digest(self._library),
            kernels=tuple(kernels),
            inputs=inputs,
            outputs=outputs,
            target=self._unit.target,
            tvm=self._version,
            compile_s=time.perf_counter() - started,
            tuned_s=tune_s,
            tiles=scheduled.tiles,
        )
        artifacts.save(made, self.description)
        return made

    def is_current(self, cached: TvmArtifact) -> bool:
        """Whether no better plan was found since, by tuning another model."""
        return self._mode != "search" or all(
            (known := self._store.get(identity)) is not None and known.label == label
            for identity, label in cached.tiles.items()
        )

    def _scheduled(self, lowered: fusion.Lowered, tune_s: float) -> scheduling.Scheduled:
        if self._mode == "untuned":
            labels = dict.fromkeys((f for f, _ in lowered.calls), scheduling.UNTUNED)
            return scheduling.Scheduled(lowered.module, labels, {})
        setting = Setting(self._unit, self._threads)
        picker = Picker(self._target, setting, self._store if self._mode == "search" else None)
        return scheduling.schedule(lowered, picker, self._threads, tune_s, self._progress)


def _silent(what: str, done: float) -> None:
    del what, done


def traced_kernels(
    names: Sequence[str],
    lowered: fusion.Lowered,
    scheduled: scheduling.Scheduled,
    attribution: Attribution,
) -> list[TvmKernel]:
    """Join the calls of the library with the calls that fusion traced."""
    traced = list(lowered.calls)
    joined: list[tuple[str, tuple[int, ...]]] = []
    for name in names or [function for function, _ in traced]:
        # Lowering may turn a call into a view or add calls of its own; order is kept.
        place = next((i for i, (function, _) in enumerate(traced) if function == name), None)
        joined.append((name, () if place is None else traced[place][1]))
        traced = traced if place is None else traced[place + 1 :]
    uses = Counter(position for _, positions in joined for position in positions)
    kernels = []
    for index, (name, positions) in enumerate(joined):
        arguments = fusion.arguments_of(lowered.module, name)
        parts = any(uses[position] > 1 for position in positions)
        kernel = attribution.kernel(f"{index}:{name}", name, positions, parts, arguments)
        label = scheduled.labels.get(name, "packed")
        kernels.append(TvmKernel(kernel, name, arguments, label))
    return kernels
