"""Linear layers of a graph as weights: convolutions and dense layers, whatever they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.rewriting import Rewriting, attributes


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """A two-dimensional convolution with stored weights.

    Attributes:
        node: its node; ``source`` and ``result`` are the values it reads and makes.
        weight: (out, in / groups, kh, kw), as stored.
        bias: (out,), zeros where the node has none.
        pads: top, left, bottom, right.
        in_shape, out_shape: (n, channels, height, width).
    """

    node: Any
    source: str
    result: str
    weight: Any
    bias: Any
    has_bias: bool
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def out_channels(self) -> int:
        """Filters."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """Channels read, of all groups together."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def is_depthwise(self) -> bool:
        """One filter (or a few) per channel."""
        return self.groups > 1 and self.weight.shape[1] == 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return int(np.prod(self.out_shape)) * int(np.prod(self.weight.shape[1:]))


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A fully connected layer: a Gemm, or a MatMul with the Add behind it.

    Attributes:
        nodes: what it is made of, in order.
        weight: (out, in), whatever way round it is stored.
        bias: (out,).
        rows: vectors that it multiplies in one inference.
    """

    nodes: tuple[Any, ...]
    source: str
    result: str
    weight: Any
    bias: Any
    has_bias: bool
    rows: int
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def node(self) -> Any:
        """The node that multiplies."""
        return self.nodes[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.rows * int(self.weight.size)


def conv_layers(rewriting: Rewriting) -> list[ConvLayer]:
    """Every convolution over images whose weights are stored and whose shapes are known."""
    found = (conv_layer(rewriting, node) for node in rewriting.nodes)
    return [layer for layer in found if layer is not None]


def dense_layers(rewriting: Rewriting) -> list[DenseLayer]:
    """Every fully connected layer whose weights are stored and whose shapes are known."""
    found = (dense_layer(rewriting, node) for node in rewriting.nodes)
    return [layer for layer in found if layer is not None]


def conv_layer(rewriting: Rewriting, node: Any) -> ConvLayer | None:
    """The node as a convolution; None where it is none, or not of this kind."""
    if node.op_type != "Conv" or node.domain not in ("", "ai.onnx"):
        return None
    weight = rewriting.constant(node.input[1])
    bias = rewriting.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    in_shape, out_shape = rewriting.shape(node.input[0]), rewriting.shape(node.output[0])
    if weight is None or weight.ndim != 4 or in_shape is None or out_shape is None:
        return None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    found = attributes(node)
    strides = _pair(found.get("strides", [1, 1]))
    dilations = _pair(found.get("dilations", [1, 1]))
    pads = _pads(found, in_shape, out_shape, weight.shape[2:], strides, dilations)
    return ConvLayer(
        node, node.input[0], node.output[0], weight,
        bias if bias is not None else np.zeros(weight.shape[0], weight.dtype),
        bias is not None, strides, pads, dilations, int(found.get("group", 1)), in_shape, out_shape,
    )  # fmt: skip


def dense_layer(rewriting: Rewriting, node: Any) -> DenseLayer | None:
    """The node as a fully connected layer; None where it is none."""
    if node.op_type == "Gemm":
        return _gemm(rewriting, node)
    return _product(rewriting, node) if node.op_type == "MatMul" else None


def _gemm(rewriting: Rewriting, node: Any) -> DenseLayer | None:
    found = attributes(node)
    weight = rewriting.constant(node.input[1])
    shapes = rewriting.shape(node.input[0]), rewriting.shape(node.output[0])
    plain = found.get("alpha", 1.0) == 1.0 and not found.get("transA", 0)
    if weight is None or weight.ndim != 2 or shapes[0] is None or shapes[1] is None or not plain:
        return None
    weight = weight if found.get("transB", 0) else weight.T
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = rewriting.constant(node.input[2]) if has_bias else None
    if has_bias and (bias is None or found.get("beta", 1.0) != 1.0 or bias.ndim > 1):
        return None
    offset = np.zeros(len(weight), weight.dtype)
    if bias is not None:
        offset = offset + bias.reshape(-1)
    return DenseLayer((node,), node.input[0], node.output[0], weight, offset, has_bias,
                      shapes[0][0], shapes[0], shapes[1])  # fmt: skip


def _product(rewriting: Rewriting, node: Any) -> DenseLayer | None:
    weight = rewriting.constant(node.input[1])
    shapes = rewriting.shape(node.input[0]), rewriting.shape(node.output[0])
    if weight is None or weight.ndim != 2 or shapes[0] is None or shapes[1] is None:
        return None
    nodes, result, bias = [node], node.output[0], None
    readers = rewriting.consumers(result)
    if rewriting.is_private(result) and readers[0].op_type == "Add":
        places = [name for name in readers[0].input if name != result]
        found = rewriting.constant(places[0]) if places else None
        if found is not None and found.shape == (weight.shape[1],):
            nodes.append(readers[0])
            result, bias = readers[0].output[0], found
    offset = np.zeros(weight.shape[1], weight.dtype) if bias is None else bias
    rows = int(np.prod(shapes[0][:-1]))
    return DenseLayer(tuple(nodes), node.input[0], result, weight.T, offset, bias is not None,
                      rows, shapes[0], shapes[1])  # fmt: skip


def put_conv(
    rewriting: Rewriting, layer: ConvLayer, source: str, weight: Any, bias: Any | None,
    shape: tuple[int, ...], *, output: str | None = None, hint: str = "",
    strides: tuple[int, int] = (1, 1), pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1), groups: int = 1,
) -> str:  # fmt: skip
    """Adds a convolution of ``source`` with the numbers of ``layer``'s type; returns its result."""
    label = hint or layer.node.name
    kind = layer.weight.dtype
    names = [source, rewriting.add_constant(weight.astype(kind), f"{label}.weight")]
    if bias is not None:
        names.append(rewriting.add_constant(bias.astype(kind), f"{label}.bias"))
    return rewriting.add(
        "Conv", names, shape, output=output, hint=label, kernel_shape=list(weight.shape[2:]),
        strides=list(strides), pads=list(pads), dilations=list(dilations), group=groups,
    )  # fmt: skip


def put_dense(
    rewriting: Rewriting, layer: DenseLayer, source: str, weight: Any, bias: Any | None,
    *, output: str | None = None, hint: str = "",
) -> str:  # fmt: skip
    """Adds a fully connected layer (weight (out, in)) made as ``layer`` is; returns its result."""
    label = hint or layer.node.name
    kind = layer.weight.dtype
    shape = (*layer.out_shape[:-1], len(weight))
    if layer.node.op_type == "Gemm":
        names = [source, rewriting.add_constant(weight.astype(kind), f"{label}.weight")]
        if bias is not None:
            names.append(rewriting.add_constant(bias.astype(kind), f"{label}.bias"))
        return rewriting.add("Gemm", names, shape, output=output, hint=label, transB=1)
    matrix = rewriting.add_constant(np.ascontiguousarray(weight.T).astype(kind), f"{label}.weight")
    if bias is None:
        return rewriting.add("MatMul", [source, matrix], shape, output=output, hint=label)
    product = rewriting.add("MatMul", [source, matrix], shape, hint=label)
    offset = rewriting.add_constant(bias.astype(kind), f"{label}.bias")
    return rewriting.add("Add", [product, offset], shape, output=output, hint=f"{label}.add")


def _pair(values: Any) -> tuple[int, int]:
    first, second = (int(value) for value in values)
    return first, second


def _pads(
    found: dict[str, Any], in_shape: Any, out_shape: Any, kernel: Any, strides: Any, dilations: Any
) -> tuple[int, int, int, int]:
    """Explicit pads, worked out where the node says SAME."""
    automatic = found.get("auto_pad", "NOTSET")
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        top, left, bottom, right = (int(p) for p in found.get("pads", [0, 0, 0, 0]))
        return top, left, bottom, right
    before, after = [], []
    for axis in range(2):
        span = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (out_shape[axis + 2] - 1) * strides[axis] + span - in_shape[axis + 2])
        small, large = total // 2, total - total // 2
        first = small if automatic == "SAME_UPPER" else large
        before.append(first)
        after.append(total - first)
    return before[0], before[1], after[0], after[1]
