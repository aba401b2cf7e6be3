"""What models are before anything is measured: the result of ``lwprof inspect``."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lwprof.errors import UsageError
from lwprof.profiler.graph.model import Graph, Operator
from lwprof.profiler.graph.reading import read
from lwprof.profiler.graph.text import count_text, macs_text
from lwprof.units import format_quantity

SCHEMA = "lwprof.inspection/1"


class KernelLike(Protocol):
    """What an inspection shows of a kernel; ``lwprof.profiler.kernels.Kernel`` is one."""

    @property
    def workload(self) -> Any:
        """Has ``key`` (``w1:<sha256>``) and ``description`` (JSON)."""

    @property
    def operators(self) -> Sequence[str]:
        """Types of the original operators."""

    @property
    def nodes(self) -> Sequence[str]:
        """Names of the original operators."""


KernelsOf = Callable[[Graph], Iterable[KernelLike]]


@dataclass(frozen=True, slots=True)
class ModelInspection:
    """One inspected model.

    Attributes:
        graph: the model as it was read; ``graph.tensors`` has every shape.
        kernels: what a runtime on this host makes of it; None where none was asked for.
    """

    graph: Graph
    kernels: tuple[KernelLike, ...] | None = None

    @property
    def name(self) -> str:
        """File stem, zoo name or graph name."""
        return self.graph.name

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference; None where any operator's are unknown."""
        return self.graph.macs

    @property
    def counted_macs(self) -> int:
        """Multiply-accumulates of the operators that can be counted: a lower bound."""
        return sum(operator.macs or 0 for operator in self.graph.operators)

    @property
    def params(self) -> int:
        """Learned parameters, each counted once."""
        return self.graph.params

    @property
    def size_bytes(self) -> int:
        """Bytes of the model with its weights."""
        return self.graph.size_bytes

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak activation memory by liveness, without in-place operators."""
        return self.graph.peak_memory_bytes

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Every operator with its costs, in the order they run."""
        return self.graph.operators

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operator types of which something could not be counted."""
        return self.graph.unknown

    def to_json(self) -> dict[str, Any]:
        """One entry of ``models`` of ``lwprof.inspection/1``."""
        graph = self.graph
        return {
            "name": graph.name,
            "sha256": graph.sha256,
            "macs": graph.macs,
            "params": graph.params,
            "size_bytes": graph.size_bytes,
            "peak_memory_bytes": graph.peak_memory_bytes,
            "peak_memory_inplace_bytes": graph.peak_memory_inplace_bytes,
            "unknown": list(graph.unknown),
            "notes": list(graph.notes),
            "inputs": [
                {"name": t.name, "dtype": t.dtype, "shape": _shape(graph, t.name)}
                for t in graph.inputs
            ],
            "operators": [self._operator(operator) for operator in graph.operators],
            "kernels": None if self.kernels is None else [_kernel(k) for k in self.kernels],
        }

    def _operator(self, operator: Operator) -> dict[str, Any]:
        return {
            "name": operator.name,
            "type": operator.type,
            "macs": operator.macs,
            "params": operator.params,
            "bytes_read": operator.bytes_read,
            "bytes_written": operator.bytes_written,
            "outputs": [_shape(self.graph, name) for name in operator.outputs if name],
        }


def _shape(graph: Graph, name: str) -> list[int | None] | None:
    tensor = graph.tensors.get(name)
    return None if tensor is None or tensor.shape is None else list(tensor.shape)


def _kernel(kernel: KernelLike) -> dict[str, Any]:
    return {
        "workload": kernel.workload.key,
        "operators": list(kernel.operators),
        "nodes": list(kernel.nodes),
        "count": 1,
    }


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of inspecting one or more models.

    With one model its figures can be asked for directly (``inspection.macs``); with several,
    go through ``models``.
    """

    models: tuple[ModelInspection, ...]

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of the one model; None where any operator's are unknown."""
        return self._only.macs

    @property
    def params(self) -> int:
        """Learned parameters of the one model."""
        return self._only.params

    @property
    def size_bytes(self) -> int:
        """Bytes of the one model with its weights."""
        return self._only.size_bytes

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak activation memory of the one model, without in-place operators."""
        return self._only.peak_memory_bytes

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Operators of the one model."""
        return self._only.operators

    @property
    def unknown(self) -> tuple[str, ...]:
        """Operator types of the one model of which something could not be counted."""
        return self._only.unknown

    @property
    def kernels(self) -> tuple[KernelLike, ...] | None:
        """Kernels of the one model; None where no runtime was asked."""
        return self._only.kernels

    @property
    def _only(self) -> ModelInspection:
        if len(self.models) != 1:
            raise UsageError(
                f"this inspection holds {len(self.models)} models: use .models[0], .models[1] …"
            )
        return self.models[0]

    def to_json(self) -> dict[str, Any]:
        """``lwprof.inspection/1``."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "models": [model.to_json() for model in self.models],
        }
        kernels = [kernel for model in self.models for kernel in model.kernels or ()]
        if kernels:
            data["workloads"] = {k.workload.key: k.workload.description for k in kernels}
        return data

    def __str__(self) -> str:
        return "\n".join(", ".join(_figures(model)) for model in self.models)

    def _repr_html_(self) -> str:
        rows = (
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _figures(model)) + "</tr>"
            for model in self.models
        )
        return f"<table>{''.join(rows)}</table>"


def _figures(model: ModelInspection) -> list[str]:
    return [
        model.name,
        f"{macs_text(model.macs, model.counted_macs)} MACs",
        f"{count_text(model.params)} parameters",
        f"{format_quantity(model.size_bytes, 'B')} size",
        f"{format_quantity(model.peak_memory_bytes, 'B')} peak activations",
        f"{len(model.operators)} operators",
        *([f"unknown: {', '.join(model.unknown)}"] if model.unknown else []),
    ]


def inspect(
    models: Any,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    kernels_of: KernelsOf | None = None,
) -> Inspection:
    """Reads models and counts what they cost; measures nothing.

    Args:
        models: a path, zoo name, ``-``, bytes or ``ModelProto``, or a list of them.
        input_shapes: shapes that win over the files', by input name.
        batch: value of the batch dimension.
        kernels_of: what a runtime makes of a graph; None leaves kernels unknown.

    Raises:
        ModelError: a model cannot be read.
    """
    several = models if isinstance(models, (list, tuple)) else [models]
    found = []
    for model in several:
        graph = read(model, input_shapes=input_shapes, batch=batch)
        kernels = None if kernels_of is None else tuple(kernels_of(graph))
        found.append(ModelInspection(graph, kernels))
    return Inspection(tuple(found))
