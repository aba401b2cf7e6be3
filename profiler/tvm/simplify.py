"""The ONNX graph as TVM should see it.

TVM keeps an unfolded batch normalisation as three or more kernels, so ONNX
Runtime's BASIC optimisation (constant folding, batch normalisations folded into
convolutions, dead code) runs first. It only uses standard operators, on every
processor.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

#: Above this size a model cannot be serialised as one protobuf message.
_LIMIT_BYTES = 2**31 - 2**20


def simplify(model: Any) -> Any:
    """Fold what can be folded.

    Args:
        model: an ``onnx.ModelProto`` with concrete input shapes. It is not changed.

    Returns:
        The simplified ``ModelProto``, each node with a unique name; when ONNX
        Runtime refuses the model, its nodes as they are.
    """
    named = _named(model)
    optimised = _optimise(named) or named
    del optimised.opset_import[:]
    optimised.opset_import.extend(o for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return optimised


def _named(model: Any) -> Any:
    """Copy a model with unique node names, ONNX Runtime's ``<Op>_<index>`` where needed."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    taken: set[str] = set()
    for index, node in enumerate(copy.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)
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
