"""float16 and int8 through the tools of ONNX Runtime (survey C11, C12).

float16 keeps the model's inputs and outputs as they are. int8 is ONNX Runtime's own
quantiser: dynamic (weights stored as int8, activations quantised while running) or static
(QDQ nodes with ranges from calibration data), with one scale per tensor or per channel.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from lwprof.compression.running import random_feeds
from lwprof.compression.structure.batch_norm import FOLD_BATCH_NORM
from lwprof.compression.transform import Draft, Feed, Transform
from lwprof.errors import LwprofError
from lwprof.profiler.graph import read

# What the quantiser has integer kernels or cheap stand-ins for; the rest stays float.
_STATIC = ["Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat",
           "Mul", "Reshape", "Flatten", "Transpose", "Clip", "Relu", "Split", "Sigmoid",
           "LeakyRelu", "Resize", "Squeeze", "Unsqueeze", "Pad"]  # fmt: skip
_DYNAMIC = ["Conv", "MatMul", "Gemm"]
_LINEAR = ("Conv", "Gemm", "MatMul", "ConvTranspose")


def to_float16(draft: Draft) -> None:
    """float16 weights and activations inside; inputs and outputs keep their types."""
    graph = draft.rewriting.graph
    if not _floats(draft):
        return
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        try:
            model = convert_float_to_float16(
                _copy(graph.proto), keep_io_types=True, disable_shape_infer=False
            )
            model = _sorted(model)
            read(model)
        except Exception as error:  # noqa: BLE001 - the converter can raise anything
            draft.refused[""] = f"the converter fails on it: {_line(error)}"
            return
    _take(draft, model)


def to_int8_dynamic(draft: Draft, *, per_channel: bool = False) -> None:
    """int8 weights; activations are quantised anew in each inference."""
    if not _floats(draft):
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def convert(source: str, target: str) -> None:
        # Signed activations do not exist in ONNX Runtime's ConvInteger: weights are unsigned.
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8, per_channel=per_channel,
                         op_types_to_quantize=_DYNAMIC)  # fmt: skip

    _through_files(draft, draft.rewriting.graph.proto, convert)


def to_int8_static(
    draft: Draft, *, per_channel: bool = False, nodes: Sequence[str] | None = None
) -> None:
    """int8 weights and activations, ranges from calibration data (seeded random without any).

    Args:
        nodes: names of the nodes to quantise; None for all that can be.
    """
    if not _floats(draft):
        return
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph = draft.rewriting.graph
    data = list(draft.given.data) or random_feeds(graph, 2, draft.given.seed)
    if not draft.given.data:
        draft.notes.append("ranges are from random data: give calibration data before shipping")
    # A batch normalisation between convolution and activation would get ranges of its own.
    model = FOLD_BATCH_NORM.apply(graph).model

    def convert(source: str, target: str) -> None:
        quantize_static(
            source, target, Feeds(data), quant_format=QuantFormat.QDQ, per_channel=per_channel,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=_STATIC, nodes_to_quantize=list(nodes) if nodes else None,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )  # fmt: skip

    _through_files(draft, model, convert, nodes)


class Feeds:
    """Calibration data as ONNX Runtime asks for them, one batch at a time."""

    def __init__(self, data: Sequence[Feed]) -> None:
        self._rest: Iterator[Feed] = iter(data)

    def get_next(self) -> Any:
        """The next batch, None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else dict(batch)


def _through_files(
    draft: Draft, model: Any, convert: Any, nodes: Sequence[str] | None = None
) -> None:
    """Runs a quantiser that wants files, and takes its result."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(_opset(model).SerializeToString())
        try:
            convert(str(source), str(target))
            result = onnx.load(str(target))
            read(result)
        except Exception as error:  # noqa: BLE001 - the quantiser can raise anything
            draft.refused[""] = f"the quantiser fails on it: {_line(error)}"
            return
    kinds = {node.op_type for node in result.graph.node}
    if not kinds & {"QuantizeLinear", "DynamicQuantizeLinear"}:
        draft.refused[""] = "no operator that the quantiser knows"
        return
    _take(draft, result, nodes)


def _take(draft: Draft, model: Any, nodes: Sequence[str] | None = None) -> None:
    """Makes a whole converted model the result; its linear layers count as changed."""
    draft.rewriting.replacement = model
    draft.error = None
    chosen = set(nodes or ())
    draft.changed += [
        node.name for node in draft.rewriting.nodes
        if node.op_type in _LINEAR and (not chosen or node.name in chosen)
    ]  # fmt: skip
    if not draft.changed:
        draft.changed.append(draft.rewriting.nodes[0].name)


def _floats(draft: Draft) -> bool:
    """Whether the model computes in float32; notes the refusal where it does not."""
    kinds = {t.dtype for t in draft.rewriting.graph.tensors.values()}
    if "float32" not in kinds or kinds & {"int8", "uint8", "float16", "bfloat16"}:
        draft.refused[""] = "it is no float32 model"
        return False
    return True


def _opset(model: Any) -> Any:
    """A model as the quantiser wants it: per-channel scales exist from operator set 13 on."""
    versions = [i.version for i in model.opset_import if i.domain in ("", "ai.onnx")]
    if versions and versions[0] < 13:
        return onnx.version_converter.convert_version(model, 13)
    return model


def _sorted(model: Any) -> Any:
    """The converter appends its casts at the end; nodes are put in order again."""
    from lwprof.compression.rewriting import Rewriting

    made = Rewriting(read(model))
    return made.finish()


def _copy(model: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the tools' advice (pre-process your model …) out of our output."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def _line(error: Exception) -> str:
    text = str(error) if isinstance(error, LwprofError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:160]


FLOAT16 = Transform("float16", "16-bit floating point", "C11", "approximate",
                    "every float32 value", to_float16)  # fmt: skip
INT8_DYNAMIC = Transform(
    "int8_dynamic", "8-bit integers, dynamic ranges, one scale per tensor", "C12", "approximate",
    "Conv, Gemm, MatMul", to_int8_dynamic,
)  # fmt: skip
INT8_STATIC = Transform(
    "int8_static", "8-bit integers, calibrated ranges, one scale per tensor", "C12", "approximate",
    "Conv, Gemm, MatMul and what lies between them", to_int8_static,
)  # fmt: skip
INT8_STATIC_CHANNELS = Transform(
    "int8_static_per_channel", "8-bit integers, calibrated ranges, one scale per channel", "C12",
    "approximate", "Conv, Gemm, MatMul and what lies between them",
    partial(to_int8_static, per_channel=True),
)  # fmt: skip
INT8_DYNAMIC_CHANNELS = Transform(
    "int8_dynamic_per_channel", "8-bit integers, dynamic ranges, one scale per channel", "C12",
    "approximate", "Conv, Gemm, MatMul", partial(to_int8_dynamic, per_channel=True),
)  # fmt: skip
