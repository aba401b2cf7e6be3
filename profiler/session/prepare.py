"""From a model that a user names to something that a device can run, with its kernels known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lwprof.agents import Agent
from lwprof.agents.native import NativeAgent
from lwprof.errors import ModelError, UsageError
from lwprof.profiler.graph import Graph, Operator, input_specs, materialise, read
from lwprof.profiler.graph.elements import nbytes
from lwprof.profiler.kernels import Kernel, Workload, onnxruntime_kernels
from lwprof.profiler.kernels.arena import arena_bytes
from lwprof.profiler.session.chains import (
    LONG,
    SHORT,
    WIDE,
    chain_inputs,
    chain_model,
)
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.scripts import Runnable


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model on a device: what to run, and what the runtime made of it there.

    Attributes:
        graph: the model as it is run.
        runnable: how a block loads it.
        kernels: what the device's runtime executes, in order.
        schedules: TVM only: schedule by the runtime's node name.
        arena_bytes: ONNX Runtime only: the block that its plan puts activations into; None
            where it cannot be told.
    """

    graph: Graph
    runnable: Runnable
    kernels: tuple[Kernel, ...]
    schedules: Mapping[str, str]
    arena_bytes: int | None = None

    @property
    def schedule(self) -> str | None:
        """One word for the whole model: templates, tuned, untuned or mixed; None for ORT."""
        kinds = {text.split(":")[0] for text in self.schedules.values()}
        if not kinds:
            return None
        return kinds.pop() if len(kinds) == 1 else "mixed"


def read_model(model: Any, settings: Settings) -> Graph:
    """Reads, checks and shapes a model, with weights written out for timing.

    Raises:
        ModelError: it cannot be read, or an input's shape is open.
        UsageError: the precision asked for is not the file's.
    """
    graph = read(model, input_shapes=settings.input_shapes or None, batch=settings.batch)
    _check_precision(graph, settings.precision)
    return materialise(graph)


def prepare(agent: Agent, graph: Graph, settings: Settings, threads: int) -> Prepared:
    """Puts a model on the device and learns which kernels its runtime makes of it.

    Raises:
        ModelError: the runtime refuses the model.
        MissingExtra: the runtime is not installed.
    """
    if settings.runtime == "tvm":
        return _prepare_tvm(agent, graph, settings, threads)
    blob = agent.put(graph.proto.SerializeToString())
    inputs = input_specs(graph)
    options = settings.runtime_options(threads)
    optimised = agent.prepare(blob, options, inputs).optimised
    if optimised is None:
        raise ModelError(f"{graph.name}: the runtime gave no optimised graph; cannot find kernels")
    parsed = _parse(optimised)
    kernels = tuple(onnxruntime_kernels(graph, parsed))
    runnable = Runnable(blob, inputs, options)
    return Prepared(graph, runnable, kernels, {}, arena_bytes(kernels, parsed))


def prepare_chains(agent: Agent, settings: Settings, threads: int) -> dict[str, Runnable]:
    """The synthetic chains on the device; none for a runtime that reports its own overhead."""
    if settings.runtime != "onnxruntime":
        return {}
    options = settings.runtime_options(threads)
    return {
        name: Runnable(agent.put(chain_model(name)), chain_inputs(), options)
        for name in (SHORT, LONG, WIDE)
    }


def kernel_cost(kernel: Kernel, operators: Mapping[str, Operator]) -> tuple[int | None, int | None]:
    """MACs and bytes of one kernel, from the operators it came from.

    Bytes are those that cross the kernel's border: what its operators read and write,
    without the values that only travel inside it. None where a part cannot be counted.
    """
    parts = [operators[name] for name in kernel.nodes if name in operators]
    if not parts:
        # A layout change does no arithmetic, and its bytes are the runtime's business; a
        # part of an operator that the runtime split up cannot be counted by itself.
        return (0 if kernel.kind == "layout" else None), None
    macs = _total([part.macs for part in parts])
    read_bytes = _total([part.bytes_read for part in parts])
    written = _total([part.bytes_written for part in parts])
    if read_bytes is None or written is None:
        return macs, None
    outputs = {name: part for part in parts for name in part.outputs}
    inner = _total([outputs[name].bytes_written for part in parts for name in part.inputs
                    if name in outputs])  # fmt: skip
    return macs, None if inner is None else max(0, read_bytes + written - 2 * inner)


def workload_cost(workload: Workload) -> tuple[int | None, int | None]:
    """MACs and bytes of one execution of a workload that belongs to no model."""
    if all(op.startswith("Reorder") for op in workload.op_types):
        return 0, None  # a layout change of the runtime's own: no arithmetic
    graph = read(workload.to_model(), name=workload.key)
    moved = [t.elements and nbytes(t.dtype, t.elements) for t in (*graph.inputs, *graph.outputs)]
    return graph.macs, _total(moved)


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _prepare_tvm(agent: Agent, graph: Graph, settings: Settings, threads: int) -> Prepared:
    if isinstance(agent, NativeAgent):
        return _prepare_native(agent, graph, settings, threads)
    from lwprof.profiler.tvm import compile_model

    artifact = compile_model(graph, threads=threads, tune_s=settings.tune_s)
    blob = agent.put(artifact.library)
    runnable = Runnable(blob, input_specs(graph), settings.runtime_options(threads))
    kernels = tuple(kernel.kernel for kernel in artifact.kernels)
    schedules = {kernel.kernel.runtime_node: kernel.schedule for kernel in artifact.kernels}
    return Prepared(graph, runnable, kernels, schedules)


def _prepare_native(agent: NativeAgent, graph: Graph, settings: Settings, threads: int) -> Prepared:
    """Compiles for the device's processor, and carries program and weights there once."""
    from lwprof.profiler.tvm.native import compile_native

    if settings.tune_s:
        raise UsageError(
            "TVM cannot tune for a device that runs the native agent, since it would have to time "
            "there: measure without tuning"
        )
    facts = agent.facts()
    artifact = compile_native(graph, machine=facts.machine, threads=threads)
    blob = agent.put_program(artifact.program)
    runnable = Runnable(blob, input_specs(graph), settings.runtime_options(threads))
    kernels = tuple(kernel.kernel for kernel in artifact.kernels)
    schedules = {kernel.kernel.runtime_node: kernel.schedule for kernel in artifact.kernels}
    return Prepared(graph, runnable, kernels, schedules)


def _parse(data: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(data)


def _check_precision(graph: Graph, precision: str | None) -> None:
    if precision is None:
        return
    floats = {t.dtype for t in graph.tensors.values()} & {"float16", "float32", "int8", "uint8"}
    if precision == "int8" and floats & {"int8", "uint8"}:
        return
    if precision != "int8" and precision in floats and not floats & {"int8", "uint8"}:
        return
    raise UsageError(
        f"{graph.name} is not a {precision} model: give a file that is, or drop --precision"
    )
