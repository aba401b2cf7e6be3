"""An ONNX network as a PyTorch module: its stored weights become parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import numpy_helper

from lwprof.errors import MissingExtra, ModelError
from lwprof.profiler.graph import Graph, materialise, read
from lwprof.profiler.graph.attributes import attributes_of

try:
    import torch
    from torch.nn import functional
except ImportError as error:
    raise MissingExtra("training needs PyTorch: pip install 'lwprof[torch]'") from error


class TorchGraph(torch.nn.Module):  # type: ignore[misc]
    """Runs a graph node by node, differentiable in inputs and weights.

    Args:
        model: anything that ``lwprof.profiler.graph.read`` accepts. Batch normalisation is in
            its inference form: statistics stay, scale and offset are trained.

    Raises:
        ModelError: an operator that is not known here; it is named.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        graph = materialise(model if isinstance(model, Graph) else read(model))
        self.model = graph.proto
        self.inputs = [tensor.name for tensor in graph.inputs]
        self.outputs = [tensor.name for tensor in graph.outputs]
        self._batch = int((graph.inputs[0].shape or (1,))[0] or 1)
        self._names: dict[str, str] = {}
        self._whole: dict[str, Any] = {}
        frozen = {name for node in graph.proto.graph.node
                  if node.op_type == "BatchNormalization" for name in node.input[3:5]}  # fmt: skip
        for tensor in graph.proto.graph.initializer:
            self._take(tensor.name, numpy_helper.to_array(tensor), tensor.name in frozen)
        self._nodes = [(node, dict(attributes_of(node))) for node in graph.proto.graph.node]
        for node, found in self._nodes:
            if node.op_type == "Constant":
                self._take(node.output[0], numpy_helper.to_array(found["value"])
                           if hasattr(found["value"], "dims") else np.array(found["value"]), True)  # fmt: skip
            elif node.op_type not in _OPERATORS:
                raise ModelError(f"{graph.name}: cannot train through {node.op_type} ({node.name})")

    def _take(self, name: str, array: Any, frozen: bool) -> None:
        if array.dtype.kind != "f":
            self._whole[name] = array
            return
        tensor = torch.from_numpy(np.array(array, dtype=np.float32))
        key = f"p{len(self._names)}"
        self._names[name] = key
        if frozen:
            self.register_buffer(key, tensor)
        else:
            self.register_parameter(key, torch.nn.Parameter(tensor))

    def weight(self, name: str) -> Any:
        """The parameter that holds a stored tensor."""
        return getattr(self, self._names[name])

    def forward(self, *given: Any) -> Any:
        """The first output, for inputs in the graph's order."""
        return self.values(dict(zip(self.inputs, given, strict=True)))[self.outputs[0]]

    def values(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Every value of the graph by name."""
        values: dict[str, Any] = dict(feed)
        for name, key in self._names.items():
            values[name] = getattr(self, key)
        values.update(self._whole)
        for node, found in self._nodes:
            if node.op_type == "Constant":
                continue
            arguments = [values[name] if name else None for name in node.input]
            made = _OPERATORS[node.op_type](arguments, {**found, "_batch": self._batch})
            made = made if isinstance(made, (list, tuple)) else [made]
            values.update(zip(node.output, made, strict=False))
        return values

    def to_onnx(self) -> Any:
        """The network with its present weights, an ``onnx.ModelProto``."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        for tensor in model.graph.initializer:
            if tensor.name in self._names:
                kind = numpy_helper.to_array(tensor).dtype
                array = self.weight(tensor.name).detach().numpy().astype(kind)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return model


Operator = Callable[[list[Any], Mapping[str, Any]], Any]


def _padded(x: Any, found: Mapping[str, Any], value: float = 0.0) -> Any:
    if found.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        raise ModelError("cannot train through automatic padding: write the pads out first")
    pads = list(found.get("pads") or [0, 0, 0, 0])
    half = len(pads) // 2
    order = [p for axis in reversed(range(half)) for p in (pads[axis], pads[axis + half])]
    return functional.pad(x, order, value=value) if any(order) else x


def _conv(a: list[Any], found: Mapping[str, Any]) -> Any:
    bias = a[2] if len(a) > 2 else None
    return functional.conv2d(_padded(a[0], found), a[1], bias, tuple(found.get("strides", (1, 1))),
                             0, tuple(found.get("dilations", (1, 1))), int(found.get("group", 1)))  # fmt: skip


def _gemm(a: list[Any], found: Mapping[str, Any]) -> Any:
    right = a[1].T if found.get("transB", 0) else a[1]
    left = a[0].T if found.get("transA", 0) else a[0]
    out = found.get("alpha", 1.0) * (left @ right)
    return out + found.get("beta", 1.0) * a[2] if len(a) > 2 and a[2] is not None else out


def _max_pool(a: list[Any], found: Mapping[str, Any]) -> Any:
    kernel = tuple(found["kernel_shape"])
    return functional.max_pool2d(_padded(a[0], found, -float("inf")), kernel,
                                 tuple(found.get("strides", (1, 1))),
                                 ceil_mode=bool(found.get("ceil_mode", 0)))  # fmt: skip


def _average_pool(a: list[Any], found: Mapping[str, Any]) -> Any:
    kernel, strides = tuple(found["kernel_shape"]), tuple(found.get("strides", (1, 1)))
    total = functional.avg_pool2d(_padded(a[0], found), kernel, strides)
    if found.get("count_include_pad", 0) or not any(found.get("pads") or ()):
        return total
    share = functional.avg_pool2d(_padded(torch.ones_like(a[0]), found), kernel, strides)
    return total / share


def _batch_norm(a: list[Any], found: Mapping[str, Any]) -> Any:
    return functional.batch_norm(a[0], a[3], a[4], a[1], a[2], False, 0.0,
                                 float(found.get("epsilon", 1e-5)))  # fmt: skip


def _reshape(a: list[Any], found: Mapping[str, Any]) -> Any:
    shape = [int(n) for n in a[1]]
    shape = [a[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    if shape and shape[0] == found["_batch"]:
        shape[0] = a[0].shape[0] if -1 in shape else -1
    return a[0].reshape(shape)


def _clip(a: list[Any], found: Mapping[str, Any]) -> Any:
    low = a[1] if len(a) > 1 and a[1] is not None else found.get("min")
    high = a[2] if len(a) > 2 and a[2] is not None else found.get("max")
    bounds = [None if b is None else float(b) for b in (low, high)]
    return torch.clamp(a[0], *bounds)


def _reduce_mean(a: list[Any], found: Mapping[str, Any]) -> Any:
    axes: Any = found.get("axes")
    axes = a[1].tolist() if axes is None and len(a) > 1 else axes
    return a[0].mean(tuple(int(x) for x in axes), keepdim=bool(found.get("keepdims", 1)))


def _split(a: list[Any], found: Mapping[str, Any]) -> Any:
    sizes: Any = found.get("split") if len(a) < 2 else a[1].tolist()
    return torch.split(a[0], [int(n) for n in sizes], int(found.get("axis", 0)))


_OPERATORS: dict[str, Operator] = {
    "Add": lambda a, _: a[0] + a[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, f: torch.cat(a, int(f["axis"])),
    "Constant": lambda a, _: None,
    "Conv": _conv,
    "Div": lambda a, _: a[0] / a[1],
    "Dropout": lambda a, _: a[0],
    "Erf": lambda a, _: torch.erf(a[0]),
    "Flatten": lambda a, f: a[0].flatten(int(f.get("axis", 1))),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, _: a[0].mean((2, 3), keepdim=True),
    "HardSigmoid": lambda a, f: torch.clamp(
        a[0] * float(f.get("alpha", 0.2)) + float(f.get("beta", 0.5)), 0, 1
    ),
    "HardSwish": lambda a, _: functional.hardswish(a[0]),
    "Identity": lambda a, _: a[0],
    "LeakyRelu": lambda a, f: functional.leaky_relu(a[0], float(f.get("alpha", 0.01))),
    "LogSoftmax": lambda a, f: functional.log_softmax(a[0], int(f.get("axis", -1))),
    "MatMul": lambda a, _: a[0] @ a[1],
    "MaxPool": _max_pool,
    "Mul": lambda a, _: a[0] * a[1],
    "ReduceMean": _reduce_mean,
    "Relu": lambda a, _: functional.relu(a[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda a, _: torch.sigmoid(a[0]),
    "Softmax": lambda a, f: functional.softmax(a[0], int(f.get("axis", -1))),
    "Split": _split,
    "Sub": lambda a, _: a[0] - a[1],
    "Tanh": lambda a, _: torch.tanh(a[0]),
    "Transpose": lambda a, f: a[0].permute(*f["perm"]),
}
