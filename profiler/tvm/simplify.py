"""The ONNX graph as TVM should see it.

TVM keeps an unfolded batch normalisation as three or more kernels, so ONNX
Runtime's BASIC optimisation (constant folding, batch normalisations folded into
convolutions, dead code) runs first. It only uses standard operators, on every
processor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lwprof.profiler.graph.model import Graph

#: Above this size a model cannot be serialised as one protobuf message.
_LIMIT_BYTES = 2**31 - 2**20


def simplify(graph: Graph) -> Any:
    """Fold what can be folded.

    Args:
        graph: the model, with concrete input shapes. It is not changed.

    Returns:
        The simplified ``ModelProto``, each node with a unique name; when ONNX
        Runtime refuses the model, its nodes as they are.
    """
    named = _named(graph.proto, {operator.index: operator.name for operator in graph.operators})
    optimised = _optimise(named)
    # The optimiser leaves nodes of its own without a name.
    simplified = named if optimised is None else _named(optimised, {})
    standard = [o for o in graph.proto.opset_import if o.domain in ("", "ai.onnx")]
    del simplified.opset_import[:]
    simplified.opset_import.extend(standard)
    return simplified


def _named(model: Any, names: Mapping[int, str]) -> Any:
    """Copy a model, giving its nodes names where they have none, all of them unique."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    taken: set[str] = set()
    for index, node in enumerate(copy.graph.node):
        name = node.name or names.get(index) or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        node.name = name
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
