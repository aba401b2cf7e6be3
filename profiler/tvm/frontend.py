"""From ONNX to TVM's Relax, remembering which node each binding came from.

TVM's importer gives its values running names. Here every value that ends an
ONNX node is bound to a variable called ``n<position>``, which survives TVM's
passes, so that fused functions can be traced back.
"""

from __future__ import annotations

import math
import re
from typing import Any

from lwprof.errors import ModelError
from lwprof.profiler.tvm.toolchain import quietly, require_tvm

_LABEL = re.compile(r"n(\d+)(?:_\d+)?")


def position_of(name: str) -> int | None:
    """Position of the ONNX node whose label a variable's name is, else None."""
    match = _LABEL.fullmatch(name)
    return int(match.group(1)) if match else None


def import_model(model: Any, name: str) -> Any:
    """Convert a model to a Relax module.

    Args:
        model: a simplified ``onnx.ModelProto`` whose nodes have unique names.
        name: the model's name, for messages.

    Returns:
        A ``tvm.IRModule`` with the function ``main``, whose parameters carry the
        names of the graph's inputs and whose constants hold the weights.

    Raises:
        ModelError: TVM's importer does not accept the model.
    """
    require_tvm()
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    importer = _importer_class()(
        None, "float32", positions={node.name: i for i, node in enumerate(model.graph.node)}
    )
    try:
        with quietly():
            return importer.from_onnx(model.graph, opset)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"TVM cannot read {name}: {reason[-1]}; measure it with --runtime onnxruntime"
        ) from error


def _importer_class() -> Any:
    """Subclass TVM's importer; a function, because TVM is imported late."""
    from tvm import relax
    from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

    class LabellingImporter(ONNXGraphImporter):  # type: ignore[misc]
        """Binds each node's values to variables named after the node's position."""

        def __init__(self, shapes: Any, types: Any, *, positions: dict[str, int]) -> None:
            super().__init__(shapes, types, keep_params_in_input=False, sanitize=False)
            self._positions = positions

        def _convert_operator(self, op_name: str, inputs: Any, attrs: Any, opset: int) -> Any:
            short = _shorter(relax, op_name, inputs, attrs, opset)
            position = self._positions.get(attrs["tvm_custom"]["name"])
            if short is None:
                short = super()._convert_operator(op_name, inputs, attrs, opset)
            return short if position is None else self._labelled(short, f"n{position}")

        def _labelled(self, value: Any, label: str) -> Any:
            if isinstance(value, relax.Tuple):
                return relax.Tuple([self._labelled(item, label) for item in value.fields])
            if isinstance(value, relax.Call):
                return self.bb.emit(value, label)
            return value

    return LabellingImporter


def _shorter(relax: Any, op_name: str, inputs: Any, attrs: Any, opset: int) -> Any | None:
    """A form that fuses, where the importer's own does not; else None."""
    if op_name == "Clip":
        return _clip(relax, inputs, attrs, opset)
    pairs = {"Sum": relax.op.add, "Max": relax.op.maximum, "Min": relax.op.minimum}
    if op_name in pairs and len(inputs) > 1:
        # The importer stacks the inputs into one tensor and reduces that.
        total = inputs[0]
        for term in list(inputs)[1:]:
            total = pairs[op_name](total, term)
        return total
    return None


def _clip(relax: Any, inputs: Any, attrs: Any, opset: int) -> Any | None:
    """Clip between constants as one operator, not as two calls with tensors for bounds."""
    bounds: list[float] = []
    for place, name, unbounded in ((1, "min", -math.inf), (2, "max", math.inf)):
        if opset < 11:
            bounds.append(float(attrs.get(name, unbounded)))
            continue
        given = inputs[place]
        if given is None:
            bounds.append(unbounded)
        elif hasattr(given, "value") and hasattr(given.value, "numpy"):
            bounds.append(float(given.value.numpy().reshape(-1)[0]))
        else:
            return None
    low, high = (
        unbounded if math.isnan(b) else b
        for b, unbounded in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    if str(inputs[0].ty.dtype) != "float32" or math.isinf(low) or math.isinf(high):
        return None
    return relax.op.clip(inputs[0], low, high)
