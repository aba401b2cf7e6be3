"""What compiling a model with TVM gives, and how it is kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lwprof.errors import HostError, LwprofError
from lwprof.profiler.kernels.onnxruntime import Kernel
from lwprof.profiler.kernels.workload import Workload

FORMAT = "lwprof.tvm-artifact/1"


@dataclass(frozen=True, slots=True)
class TvmKernel:
    """One call of a fused TVM function in a run of the model.

    Attributes:
        kernel: what it computes; ``kernel.runtime_node`` is
            ``<position>:<function>``, its name in the profile.
        function: the fused function's name; several kernels may share it.
        arguments: element type and shape of the function's arguments, the result
            last; what a measurement of the kernel alone needs.
        schedule: ``template:<name>[<tiles>]``, ``tuned:<name>[<tiles>]``,
            ``untuned`` or ``packed`` (a library routine of TVM's).
    """

    kernel: Kernel
    function: str
    arguments: tuple[tuple[str, tuple[int, ...]], ...]
    schedule: str


@dataclass(frozen=True, slots=True)
class TvmArtifact:
    """A compiled model.

    Attributes:
        library: the shared library, constants inside, loaded by
            ``tvm.runtime.load_module``.
        sha256: digest of the library.
        kernels: the kernels in the order in which a run calls them.
        inputs: names of the graph's inputs, in the order of ``main``'s arguments.
        outputs: names of the graph's outputs.
        target: what it was compiled for.
        tvm: TVM's version.
        compile_s: time that compiling took (tile search included), seconds.
        tuned_s: time given to tuning, seconds.
        tiles: the plan that each computation was given, to notice better ones.
        from_cache: True when nothing was compiled just now.
    """

    library: Path
    sha256: str
    kernels: tuple[TvmKernel, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    target: str
    tvm: str
    compile_s: float
    tuned_s: float
    tiles: Mapping[str, str] = field(repr=False)
    from_cache: bool = field(default=False, compare=False)

    @property
    def schedule(self) -> str:
        """One word for the whole: ``untuned``, ``templates`` or ``tuned``."""
        schedules = [k.schedule for k in self.kernels if k.kernel.kind == "compute"]
        if any(name.startswith("tuned:") for name in schedules):
            return "tuned"
        return "templates" if any(s.startswith("template:") for s in schedules) else "untuned"


def digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(artifact: TvmArtifact, path: Path) -> None:
    """Write the description of an artifact beside its library.

    Args:
        artifact: its library must lie in the folder of ``path``.
        path: the JSON file to write, replaced at once.
    """
    document: dict[str, Any] = {
        "schema": FORMAT,
        "library": artifact.library.name,
        "sha256": artifact.sha256,
        "inputs": artifact.inputs,
        "outputs": artifact.outputs,
        "target": artifact.target,
        "tvm": artifact.tvm,
        "compile_s": artifact.compile_s,
        "tuned_s": artifact.tuned_s,
        "tiles": dict(artifact.tiles),
        "workloads": {
            kernel.kernel.workload.key: kernel.kernel.workload.description
            for kernel in artifact.kernels
        },
        "kernels": [row_of(kernel) for kernel in artifact.kernels],
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.replace(path)


def load(path: Path) -> TvmArtifact | None:
    """Read an artifact back.

    Args:
        path: a JSON file that :func:`save` wrote.

    Returns:
        The artifact, or None when it is missing, damaged or of another version:
        a cache is allowed to forget.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        library = path.parent / Path(document["library"]).name
        if document["schema"] != FORMAT or digest(library) != document["sha256"]:
            return None
        workloads = {
            key: Workload.from_description(description, key)
            for key, description in document["workloads"].items()
        }
        return TvmArtifact(
            library=library,
            sha256=document["sha256"],
            kernels=tuple(kernel_from(row, workloads) for row in document["kernels"]),
            inputs=tuple(document["inputs"]),
            outputs=tuple(document["outputs"]),
            target=document["target"],
            tvm=document["tvm"],
            compile_s=float(document["compile_s"]),
            tuned_s=float(document["tuned_s"]),
            tiles={str(k): str(v) for k, v in document["tiles"].items()},
            from_cache=True,
        )
    except (OSError, ValueError, KeyError, TypeError, LwprofError):
        return None


def row_of(kernel: TvmKernel) -> dict[str, Any]:
    """A kernel as JSON; its workload by key only."""
    return {
        "workload": kernel.kernel.workload.key,
        "operators": kernel.kernel.operators,
        "nodes": kernel.kernel.nodes,
        "runtime_node": kernel.kernel.runtime_node,
        "runtime_op": kernel.kernel.runtime_op,
        "kind": kernel.kernel.kind,
        "function": kernel.function,
        "arguments": kernel.arguments,
        "schedule": kernel.schedule,
    }


def kernel_from(row: Mapping[str, Any], workloads: Mapping[str, Workload]) -> TvmKernel:
    """What ``row_of`` wrote, read back."""
    return TvmKernel(
        kernel=Kernel(
            workloads[row["workload"]],
            tuple(row["operators"]),
            tuple(row["nodes"]),
            str(row["runtime_node"]),
            str(row["runtime_op"]),
            "layout" if row["kind"] == "layout" else "compute",
        ),
        function=str(row["function"]),
        arguments=tuple((str(d), tuple(int(e) for e in s)) for d, s in row["arguments"]),
        schedule=str(row["schedule"]),
    )


def cache_folder(base: Path | None) -> Path:
    """Make the folder of compiled models.

    Args:
        base: the cache folder; the user's by default.

    Raises:
        HostError: it cannot be written.
    """
    if base is None:
        import platformdirs

        base = Path(platformdirs.user_cache_dir("lwprof", appauthor=False))
    folder = base / "tvm"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"the cache folder {folder} cannot be written ({error.strerror}); name another one"
        ) from error
    return folder
