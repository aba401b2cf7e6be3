"""Models, sessions and round trips for the tests of kernels."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from lwprof.profiler.graph import Graph, read
from lwprof.profiler.kernels import KernelMap, Workload, onnxruntime_kernels

F = TensorProto.FLOAT
node = helper.make_node

LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(double)": np.float64,
}  # fmt: skip


def random(*shape: int, seed: int = 0) -> Any:
    """Weights of one tensor."""
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 0.1).astype(np.float32)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    weights: Mapping[str, Any],
    *,
    opset: int = 17,
    dtype: int = F,
) -> Any:
    """A model whose inputs and outputs are tensors of one type."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, dtype, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def options(level: str) -> Any:
    """Session options that keep to one thread and stay silent."""
    found = ort.SessionOptions()
    found.intra_op_num_threads = found.inter_op_num_threads = 1
    found.graph_optimization_level = LEVELS[level]
    found.log_severity_level = 4
    return found


def optimise(proto: Any, level: str = "all", without: Sequence[str] = ()) -> Any:
    """What ONNX Runtime makes of a model, as it saves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        wanted = options(level)
        wanted.optimized_model_filepath = str(path)
        ort.InferenceSession(
            proto.SerializeToString(), wanted, providers=["CPUExecutionProvider"],
            disabled_optimizers=list(without),
        )  # fmt: skip
        return onnx.load(path)


def profiled(proto: Any, level: str = "all") -> tuple[Any, list[tuple[str, str]]]:
    """The optimised graph, and name and type of the nodes that the same session ran."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        wanted = options(level)
        wanted.optimized_model_filepath = str(path)
        wanted.enable_profiling = True
        wanted.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(
            proto.SerializeToString(), wanted, providers=["CPUExecutionProvider"]
        )
        session.run(None, {i.name: np.ones(i.shape, _TYPES[i.type]) for i in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text())
        rows = [
            (e["name"].removesuffix("_kernel_time"), e["args"]["op_name"])
            for e in events
            if e["cat"] == "Node" and e["name"].endswith("_kernel_time")
        ]
        return onnx.load(path), rows


def run(proto: Any) -> list[Any]:
    """Outputs of one inference on standard normal inputs."""
    session = ort.InferenceSession(
        proto.SerializeToString(), options("all"), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.standard_normal(i.shape).astype(_TYPES[i.type]) for i in session.get_inputs()}  # fmt: skip
    found: list[Any] = session.run(None, feeds)
    return found


def kernels_of(proto: Any, level: str = "all") -> tuple[Graph, KernelMap]:
    """Reads, optimises, maps; checks that every operator is in exactly one place."""
    graph = read(proto)
    kernels = onnxruntime_kernels(graph, optimise(graph.proto, level))
    check_complete(graph, kernels)
    return graph, kernels


def check_complete(graph: Graph, kernels: KernelMap) -> None:
    """Every operator exactly once; no kernel holds two convolutions or products."""
    placed = [name for kernel in kernels for name in kernel.nodes]
    placed += [*kernels.folded, *kernels.dead, *kernels.merged]
    assert sorted(placed) == sorted(operator.name for operator in graph.operators)
    for kernel in kernels:
        assert len(kernel.nodes) == len(kernel.operators) or not kernel.nodes
        heavy = [o for o in kernel.operators if o in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
        assert len(heavy) <= 1, (kernel.runtime_node, kernel.nodes)


def keys_alone(workload: Workload, level: str = "all") -> list[str]:
    """Keys of the kernels that the runtime makes of a workload's own model."""
    again = Workload.from_description(workload.description, workload.key)
    graph, kernels = kernels_of(again.to_model(), level)
    del graph
    return [kernel.workload.key for kernel in kernels]


def conv(source: str, result: str, weight: str, **attributes: Any) -> Any:
    """A 3x3 convolution that keeps the extents."""
    return node("Conv", [source, weight], [result], **{"pads": [1, 1, 1, 1], **attributes})
