"""The ONNX graph as TVM should see it, and where each of its nodes came from.

TVM keeps an unfolded batch normalisation as three or more kernels, so ONNX
Runtime's BASIC optimisation (constant folding, batch normalisations folded into
convolutions, dead code) runs first. It only uses standard operators, on every
processor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Above this size a model cannot be serialised as one protobuf message.
_LIMIT_BYTES = 2**31 - 2**20


@dataclass(frozen=True, slots=True)
class Origin:
    """The original nodes that one node of the simplified graph computes."""

    operators: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Simplified:
    """A simplified model.

    Attributes:
        model: the ``onnx.ModelProto``; each node has a unique name.
        origins: for each top-level node of ``model``, by position.
    """

    model: Any
    origins: tuple[Origin, ...]


def simplify(model: Any) -> Simplified:
    """Fold what can be folded and keep track of it.

    Args:
        model: an ``onnx.ModelProto`` with concrete input shapes. It is not changed.

    Returns:
        The simplified model. When ONNX Runtime refuses the model, its nodes as
        they are.
    """
    named = _named(model)
    optimised = _optimise(named)
    if optimised is None:
        kept = tuple(Origin((node.op_type,), (node.name,)) for node in named.graph.node)
        return Simplified(named, kept)
    del optimised.opset_import[:]
    optimised.opset_import.extend(o for o in named.opset_import if o.domain in ("", "ai.onnx"))
    return Simplified(optimised, _origins(named, optimised))


def _named(model: Any) -> Any:
    """Copy a model, giving unnamed nodes ONNX Runtime's name ``<Op>_<index>``."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{index}"
    return copy


def _optimise(model: Any) -> Any | None:
    """Run ONNX Runtime's BASIC optimisation; None when it refuses the model."""
    import onnx
    import onnxruntime

    if model.ByteSize() > _LIMIT_BYTES:
        return None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="lwprof-") as folder:
        path = Path(folder) / "simplified.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            optimised = onnx.load(path)
        except Exception:  # noqa: BLE001 - ONNX Runtime raises classes of its own
            return None
    standard = all(node.domain in ("", "ai.onnx") for node in optimised.graph.node)
    return optimised if standard else None


def _origins(original: Any, optimised: Any) -> tuple[Origin, ...]:
    """Walk back from each optimised node's outputs to the values that it reads."""
    running = _not_constant(original.graph)
    producer = {out: node for node in running for out in node.output if out}
    position = {node.name: index for index, node in enumerate(original.graph.node)}
    made = {out for node in optimised.graph.node for out in node.output if out}
    origins = []
    for node in optimised.graph.node:
        found = _cone(node.output, producer, made - set(node.output))
        if not found and node.name in position:
            found = {node.name}
        names = tuple(sorted(found, key=position.__getitem__))
        types = tuple(original.graph.node[position[name]].op_type for name in names)
        origins.append(Origin(types, names))
    return tuple(origins)


def _not_constant(graph: Any) -> list[Any]:
    """The nodes that depend on an input, or on values of their own making."""
    constants = {tensor.name for tensor in graph.initializer} - {v.name for v in graph.input}
    running = []
    for node in graph.node:
        reads = [value for value in node.input if value]
        bodies = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        random = not reads and node.op_type != "Constant"
        if bodies or random or any(value not in constants for value in reads):
            running.append(node)
        else:
            constants.update(node.output)
    return running


def _cone(outputs: Iterable[str], producer: Mapping[str, Any], stop: set[str]) -> set[str]:
    """Names of the nodes that compute ``outputs`` from the values in ``stop``."""
    found: set[str] = set()
    pending = list(outputs)
    while pending:
        node = producer.get(pending.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        pending.extend(value for value in node.input if value and value not in stop)
    return found
