"""Compiling a network for a device that has neither Python nor TVM.

The kernels are the ones that :func:`compile_model` makes, compiled for another processor
and linked with a small agent in C. Tiles are taken unmeasured: this machine cannot time
them, and a search on the device is not part of this.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from lwprof.agents.native.program import NativeProgram, Slot
from lwprof.errors import LwprofError
from lwprof.profiler.graph.model import Graph
from lwprof.profiler.kernels.workload import Workload
from lwprof.profiler.tvm import artifact as artifacts
from lwprof.profiler.tvm import build, frontend, fusion, layout, linking, scheduling, toolchain
from lwprof.profiler.tvm.artifact import TvmKernel
from lwprof.profiler.tvm.attribution import Attribution
from lwprof.profiler.tvm.compiling import traced_kernels
from lwprof.profiler.tvm.flat import Flat, flatten
from lwprof.profiler.tvm.native_source import source
from lwprof.profiler.tvm.picking import TEMPLATE_VERSION, Picker
from lwprof.profiler.tvm.simplify import simplify
from lwprof.profiler.tvm.templates import Setting

FORMAT = "lwprof.native-program/1"


@dataclass(frozen=True, slots=True)
class NativeArtifact:
    """A network as a native program, and which kernels it consists of.

    Attributes:
        kernels: in the order in which a run calls them.
        compile_s: time that compiling took, seconds.
        from_cache: True when nothing was compiled just now.
    """

    program: NativeProgram
    kernels: tuple[TvmKernel, ...]
    compile_s: float
    from_cache: bool = False


def compile_native(
    model: Any,
    *,
    machine: str = "aarch64",
    cpu: str | None = None,
    threads: int = 1,
    weights: bool = True,
    cache_dir: Path | None = None,
) -> NativeArtifact:
    """Compiles a network into a static executable.

    Args:
        model: a :class:`lwprof.profiler.graph.Graph`, or what ``graph.read`` makes one of.
        machine: the device's, as ``uname -m`` prints it.
        cpu: LLVM's name of its processor; default: what all such machines can run.
        threads: threads that kernels may use.
        weights: False leaves the network's own weights at home: times are the same.
        cache_dir: folder for compiled programs; the user's cache folder by default.

    Raises:
        MissingExtra: TVM or the cross compiler is not installed.
        ModelError: TVM cannot read the model, or it needs TVM's runtime.
        UsageError: no programs can be made for this machine.
        HostError: linking failed, or the cache cannot be written.
    """
    tvm = toolchain.require_tvm()
    from lwprof.profiler.graph import read

    graph = model if isinstance(model, Graph) else read(model)
    kind = linking.machine(machine)
    linking.require_linker(kind)
    folder = artifacts.cache_folder(cache_dir)
    facts = [graph.sha256, kind.name, cpu or kind.cpu, threads, str(tvm.__version__),
             TEMPLATE_VERSION, FORMAT, _sources_digest()]  # fmt: skip
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    description = folder / f"{key}.native.json"
    found = _load(description)
    if found is None:
        started = time.perf_counter()
        made = _compile(graph, kind, linking.target_of(kind, threads, cpu), threads, folder / key)
        found = replace(made, compile_s=time.perf_counter() - started)
        _save(found, description)
    if not weights:
        found = replace(found, program=replace(found.program, weights=None))
    return found


def _compile(
    graph: Graph, kind: linking.Machine, target: Any, threads: int, stem: Path
) -> NativeArtifact:
    unit = toolchain.vector_unit(target)
    simplified = simplify(graph)
    module = layout.block_layouts(frontend.import_model(simplified, graph.name), unit)
    lowered = fusion.lower(module)
    picker = Picker(target, Setting(unit, threads), None)
    scheduled = scheduling.schedule(lowered, picker, threads, 0.0, lambda what, done: None)
    compiled = build.lower_calls(scheduled.module, target)
    flat = flatten(compiled, graph.name)
    kernels = traced_kernels(
        [call.function for call in flat.calls], lowered, scheduled, Attribution(graph, simplified)
    )
    outputs = [tensor.name for tensor in graph.outputs]
    digest = hashlib.sha256(repr((replace(flat, constants=b""), kind.name)).encode()).hexdigest()
    executable, weights = stem.with_suffix(".elf"), stem.with_suffix(".weights")
    with tempfile.TemporaryDirectory(dir=stem.parent, prefix="native-") as folder:
        work = Path(folder)
        build.object_code(compiled, target, work / "kernels.o")
        (work / "tables.c").write_text(source(flat, outputs, digest), encoding="ascii")
        linking.link(kind, [work / "kernels.o"], work / "tables.c", work / "program")
        (work / "weights").write_bytes(flat.constants)
        (work / "program").replace(executable)
        (work / "weights").replace(weights)
    program = NativeProgram(
        executable=executable,
        sha256=artifacts.digest(executable),
        digest=digest,
        weights=weights,
        inputs=_slots(flat, flat.inputs, [tensor.name for tensor in graph.inputs]),
        input_bytes=flat.input_bytes,
        outputs=_packed(_slots(flat, flat.outputs, outputs)),
        machine=kind.name,
        runtime=str(toolchain.require_tvm().__version__),
    )
    return NativeArtifact(program, tuple(kernels), 0.0)


def _slots(flat: Flat, places: Sequence[int], names: Sequence[str]) -> tuple[Slot, ...]:
    tensors = [flat.tensors[place] for place in places]
    return tuple(
        Slot(name, tensor.dtype, tensor.shape, tensor.offset, tensor.nbytes)
        for name, tensor in zip(names, tensors, strict=True)
    )


def _packed(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """Outputs are written one after the other."""
    made, offset = [], 0
    for slot in slots:
        made.append(replace(slot, offset=offset))
        offset += slot.nbytes
    return tuple(made)


def _sources_digest() -> str:
    """The agent's own sources: a program is made anew when they change."""
    total = hashlib.sha256()
    folder = resources.files("lwprof.agents.native") / "source"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith((".c", ".h")):
            total.update(file.read_bytes())
    return total.hexdigest()


def _save(made: NativeArtifact, path: Path) -> None:
    program = made.program
    assert program.weights is not None
    document = {
        "schema": FORMAT,
        "program": {**asdict(program), "executable": program.executable.name,
                    "weights": program.weights.name},
        "weights_sha256": artifacts.digest(program.weights),
        "compile_s": made.compile_s,
        "workloads": {k.kernel.workload.key: k.kernel.workload.description for k in made.kernels},
        "kernels": [artifacts.row_of(kernel) for kernel in made.kernels],
    }  # fmt: skip
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.replace(path)


def _load(path: Path) -> NativeArtifact | None:
    """What was compiled before; None when it is missing, damaged or of another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        row: Mapping[str, Any] = document["program"]
        executable, weights = (path.parent / Path(row[k]).name for k in ("executable", "weights"))
        whole = (
            document["schema"] == FORMAT
            and artifacts.digest(executable) == row["sha256"]
            and artifacts.digest(weights) == document["weights_sha256"]
        )
        if not whole:
            return None
        workloads = {
            key: Workload.from_description(description, key)
            for key, description in document["workloads"].items()
        }
        program = NativeProgram(**{
            **row, "executable": executable, "weights": weights,
            "inputs": _slots_from(row["inputs"]), "outputs": _slots_from(row["outputs"]),
        })  # fmt: skip
        kernels = tuple(artifacts.kernel_from(k, workloads) for k in document["kernels"])
        return NativeArtifact(program, kernels, float(document["compile_s"]), from_cache=True)
    except (OSError, ValueError, KeyError, TypeError, LwprofError):
        return None


def _slots_from(rows: Sequence[Mapping[str, Any]]) -> tuple[Slot, ...]:
    return tuple(Slot(**{**row, "shape": tuple(row["shape"])}) for row in rows)
